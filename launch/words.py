"""How results are put into words, the same by all commands."""


def time_spent(seconds) -> str:
    """Seconds by part, as a line; compiling is within the parts, and said so."""
    parts = ", ".join(f"{n} {value:.0f} s" for n, value in seconds.items() if n != "compilation")
    within = seconds.get("compilation")
    return f"Time: {parts}" + (f"; {within:.0f} s of it compiling" if within else "")


def costs(params, macs) -> str:
    """Parameters and multiply-adds, in millions where there are as many."""
    return f"{_count(params)} parameters, {_count(macs)} multiply-adds"


def _count(number):
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e6:.3f} M" if number < 10**7 else f"{number / 1e6:.1f} M"
