"""Generated lists, kept in benchmarks/work/ by what is in them."""

import tempfile
from pathlib import Path

from children import say
from contacts import NARROW, Wanted, write

WORK = Path(__file__).resolve().parent / "work"


def kept(wanted: Wanted) -> Path:
    """Return the path of a list, generated if it is not there yet, and read once.

    So no round finds more of it in memory than another.
    """
    WORK.mkdir(exist_ok=True)
    kind = "-plain" * wanted.plain + f"-{wanted.variables}-variables" * (wanted.variables != NARROW)
    path = WORK / f"contacts-{wanted.contacts}-seed{wanted.seed}{kind}.csv"
    if not path.exists():
        say(f"generating {path.name}")
        with tempfile.NamedTemporaryFile(dir=WORK, suffix=".part", delete=False) as partial:
            write(wanted, Path(partial.name))
        Path(partial.name).rename(path)
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
    return path
