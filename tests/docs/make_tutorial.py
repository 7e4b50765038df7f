"""Writes what the tutorial prints into it, its pictures beside it, and its code into the translation.

To be run after its code or a report's words have changed: python -m tests.docs.make_tutorial
"""

from tests.docs.pages import BLOCK, PICTURES, TRANSLATION, TUTORIAL, blocks, printed


def main():
    codes = [block.code for block in blocks(TUTORIAL)]
    PICTURES.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES.iterdir():
        picture.unlink()
    fences = []
    for code, output in zip(codes, printed(codes, PICTURES), strict=True):
        said = "\n".join(line.rstrip() for line in output.rstrip().splitlines())
        fences.append(f"```python\n{code}```\n" + (f"\n```text\n{said}\n```\n" if said else ""))
    for page in (TUTORIAL, TRANSLATION):
        if page.exists():
            _replace(page, fences)


def _replace(page, fences):
    text = page.read_text()
    count = len(BLOCK.findall(text))
    if count != len(fences):
        raise SystemExit(f"{page} has {count} blocks of code, and {len(fences)} are needed: add ```python fences")
    remaining = iter(fences)
    page.write_text(BLOCK.sub(lambda _: next(remaining), text))


if __name__ == "__main__":
    main()
