"""``python -m samplerhub.testing`` prints what each check is and why: the second half of docs/conformance.md."""

from samplerhub.testing.catalogue import reference

print(reference(), end="")
