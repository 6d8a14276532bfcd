"""`launch.prepare`: what it says of each data set."""

from command_lines import play_command as play

from bnao_jax.data import cifar


def test_what_there_is_is_told():
    status, out, error = play("prepare", "--config=configs/quickstart.py")
    assert status == 0 and not error
    assert "shipped with the package" in out and "8x8x1, 10 classes" in out


def test_what_cannot_be_fetched_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv(cifar.MIRROR, "http://127.0.0.1:1")
    words = "--config=configs/cifar.py", f"--config.data.data_dir={tmp_path}"
    status, _, error = play("prepare", *words)
    assert status == 2 and "http://127.0.0.1:1/cifar-10" in error and "no connection" in error


def test_imagenet_is_by_hand(tmp_path):
    words = "--config=configs/imagenet_train.py", f"--config.data.data_dir={tmp_path}"
    status, _, error = play("prepare", *words)
    assert status == 2 and "ILSVRC2012_img_train.tar (138 GB)" in error
