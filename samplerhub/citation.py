"""References as components' docstrings give them, and the BibTeX that they become."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from samplerhub.errors import InvalidSetting

FORM = "Title (Authors, Year), arXiv:NNNN.NNNNN"
REFERENCE = re.compile(r"(?P<title>.+) \((?P<authors>[^()]+), (?P<year>\d{4})\), (?P<rest>.+)")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5}(?:v\d+)?|[a-z-]+(?:\.[A-Z]{2})?/\d{7})")
DOI = re.compile(r"doi:(10\.\d{4,9}/\S+)")
URL = re.compile(r"(?:https?://)?([\w-]+(?:\.[\w-]+)+/\S+)")
SEPARATOR = re.compile(r",? (?:and|et|&) |, ")
"""Stands between two authors; before the last there may be a comma as well."""
VOLUME = re.compile(r"(?P<journal>.+?) (?P<volume>\d+)")
PAGES = re.compile(r"(\d+)(?:-(\d+))?")
ARTICLES = ("a", "an", "the", "on")
"""Words with which a title begins, and a key does not."""
UNFOLDED = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "ß": "ss", "æ": "ae", "œ": "oe", "+": "p"})
"""Letters that have no accent to lose; a plus, because DPM-Solver++ is not DPM-Solver."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A work that a component follows."""

    title: str
    authors: tuple[str, ...]
    """Surnames, "others" for et al."""
    year: int
    arxiv: str = ""
    doi: str = ""
    url: str = ""
    venue: str = ""
    pages: str = ""
    where: str = ""
    """What part of the work it is."""

    @property
    def key(self) -> str:
        """The citation key, surname-year-firstword: it depends on the work alone, and is of ASCII letters and digits.

        A surname of other letters is left out; where the title has no such word, the work's number stands for it.
        """
        words = (_folded(word) for word in self.title.split())
        first = next((word for word in words if word and word not in ARTICLES), "") or self.number
        return "-".join(part for part in (_folded(self.authors[0]), str(self.year), first) if part)

    @property
    def number(self) -> str:
        """What tells the work from all others, in ASCII letters and digits."""
        return _folded(self.identity) if self.identity.isascii() else sha256(self.identity.encode()).hexdigest()[:8]

    @property
    def identity(self) -> str:
        """What two mentions of the same work have in common."""
        number = self.arxiv.partition("v")[0] if self.arxiv[:1].isdigit() else self.arxiv
        title = _folded(self.title) if self.title.isascii() else self.title.lower()
        return number or self.doi.lower() or self.url or f"{title}-{self.year}"

    def bibtex(self, key: str = "") -> str:
        """Return the entry."""
        journal = VOLUME.fullmatch(self.venue)
        located = (self.arxiv and f"arXiv:{self.arxiv}") or (self.doi and f"doi:{self.doi}") or self.url
        published = (
            {
                "journal": _escaped(journal["journal"]),
                "volume": journal["volume"],
                "pages": self.pages.replace("-", "--"),
            }
            if journal
            else {"howpublished": _escaped(self.venue or located)}
        )
        fields = {
            "author": " and ".join(author if author == "others" else _name(author) for author in self.authors),
            "title": _title(self.title),
            "year": str(self.year),
            **published,
            "doi": self.doi,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "url": self.url or (f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv and not self.doi else ""),
        }
        return _entry("article" if journal else "misc", key or self.key, fields)


@dataclass(slots=True)
class Cited:
    """A work, and what follows it."""

    reference: Reference
    users: list[str] = field(default_factory=list)
    key: str = ""


def reference(text: str) -> Reference:
    """Read a reference.

    After title, authors and year come the venue, if it is given, ``arXiv:``, ``doi:`` or an address, and then which
    part of the work it is: ``Common Schedules are Flawed (Lin et al., 2024), arXiv:2305.08891, Table 2``. Where there
    is neither of the three a venue must do: ``A Kernel Test (Gretton et al., 2012), JMLR 13, 723-773``.

    Raises:
        InvalidSetting: It has another form.
    """
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidSetting(_refusal(text))
    parts = match["rest"].split(", ")
    places = {
        name: [(i, found[1]) for i, part in enumerate(parts) if (found := pattern.fullmatch(part))]
        for name, pattern in (("arxiv", ARXIV), ("doi", DOI), ("url", URL))
    }
    located = {name: found[0][1] for name, found in places.items() if found}
    located |= {"url": f"https://{located['url']}"} if "url" in located else {}
    first = min((i for found in places.values() for i, _ in found), default=None)
    venue = (parts if first is None else parts[:first])[:2]
    pages = venue.pop() if len(venue) == 2 and PAGES.fullmatch(venue[1]) else ""
    if (venue and not venue[0][:1].isupper()) or not (located or venue):
        raise InvalidSetting(_refusal(text))
    last = max((i for found in places.values() for i, _ in found), default=1 if pages else 0)
    return Reference(
        title=match["title"],
        authors=tuple(
            "others" if name == "al." else name
            for name in SEPARATOR.split(match["authors"].replace(", et al.", " et al."))
        ),
        year=int(match["year"]),
        venue=", ".join(venue[:1]),
        pages=pages,
        where=", ".join(parts[last + 1 :]),
        **located,
    )


def items(section: str) -> list[str]:
    """Return the references of a docstring's section, each in one line: further lines of one are indented by more."""
    lines = [line for line in section.splitlines() if line.strip()]
    margin = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    found: list[str] = []
    for line in lines:
        if found and line[margin : margin + 1] == " ":
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.strip())
    return found


def bibliography(mentions: Iterable[tuple[str, Reference]]) -> list[Cited]:
    """Return each work once, in the order of the first mentions, with keys that are all different.

    Args:
        mentions: Who follows a work, and the work.
    """
    works: dict[str, Cited] = {}
    for user, work in mentions:
        cited = works.setdefault(work.identity, Cited(work))
        cited.users += [user] if user not in cited.users else []
    keys = [cited.reference.key for cited in works.values()]
    for cited in works.values():
        key = cited.reference.key
        cited.key = key if keys.count(key) == 1 else f"{key}-{cited.reference.number}"
    return list(works.values())


def bibtex(works: Sequence[Cited], version: str) -> str:
    """Return the entries of works, each under a line that says who follows it, after that of samplerhub itself."""
    entries = [software(version)]
    entries += [f"% {', '.join(cited.users)}\n{cited.reference.bibtex(cited.key)}" for cited in works]
    return "\n\n".join(entries)


def software(version: str) -> str:
    """Return the entry of samplerhub itself."""
    fields = {
        "author": "{The samplerhub authors}",
        "title": "{samplerhub}: any forward process, score model, sampler and metric of diffusion sampling",
        "year": "2026",
        "howpublished": f"Software, version {_escaped(version)}",
    }
    return _entry("misc", "samplerhub", fields)


def _refusal(text: str) -> str:
    return (
        f"{text!r} is no reference of the form {FORM!r}; in place of arXiv: there may be doi:, an address or a venue, "
        "and after it what part of the work is meant. One reference a line; its further lines are indented by more"
    )


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name:<13} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _name(surname: str) -> str:
    """Return a surname that BibTeX takes for one whatever words it has."""
    escaped = _escaped(surname)
    return f"{{{escaped}}}" if " " in surname else escaped


def _title(title: str) -> str:
    """Return a title with braces around each word whose capitals a style could take away, but the first letter's."""
    words = []
    for i, word in enumerate(title.split()):
        match = re.fullmatch(r"(\W*)(.*?)(\W*)", word)
        before, core, after = match.groups() if match else ("", word, "")
        safe = not any(letter.isupper() for letter in (core[1:] if i == 0 else core))
        text = _escaped(core)
        words.append(_escaped(before) + (text if safe else f"{{{text}}}") + _escaped(after))
    return " ".join(words)


def _escaped(text: str) -> str:
    """Return text as LaTeX: accents as commands, and nothing that LaTeX would take for more than a letter."""
    from pylatexenc.latexencode import UnicodeToLatexEncoder

    encoder = UnicodeToLatexEncoder(
        replacement_latex_protection="braces-all", unknown_char_policy="keep", unknown_char_warning=False
    )
    return str(encoder.unicode_to_latex(text))


def _folded(text: str) -> str:
    """Return text in small letters and digits, without accents."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(UNFOLDED))
    return "".join(letter for letter in plain if letter.isascii() and letter.isalnum())
