"""Changes a file as a page shows it: apply.py FILE <diff. Lines begin with -, + or a space; hunks are apart by a line @@."""
import pathlib
import sys

file = pathlib.Path(sys.argv[1])
text = file.read_text()
for hunk in sys.stdin.read().split("@@\n"):
    lines = [line or " " for line in hunk.splitlines()]
    old = "".join(line[1:] + "\n" for line in lines if line[0] in " -")
    new = "".join(line[1:] + "\n" for line in lines if line[0] in " +")
    if text.count("\n" + old) != 1:
        sys.exit(f"{file} has this {text.count(old)} times:\n{old}")
    text = text.replace("\n" + old, "\n" + new)
file.write_text(text)
