"""Links between the documents, to files and to headings lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_blocks import ROOT, documents, prose_of, text_of

_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_somewhere(document: str) -> None:
    for link in _LINK.findall(prose_of(document)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), f"{document}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{document}: {link}"


def anchors_of(target: Path) -> set[str]:
    """Give the anchors GitHub makes of a document's headings."""
    headings = _HEADING.findall(prose_of(str(target.resolve().relative_to(ROOT))))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", documents())
def test_a_document_begins_with_its_title_and_ends_with_a_line(document: str) -> None:
    text = text_of(document)
    assert text.startswith("# ")
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
