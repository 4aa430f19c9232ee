"""Words that reports share."""


def count(number: int, noun: str) -> str:
    """`1 cluster`, `2 days`, `3 directories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{number} {noun}s"


def one_line(name: str) -> str:
    """A file's name that cannot pass for two lines of a report."""
    return name.replace("\n", "\\n")
