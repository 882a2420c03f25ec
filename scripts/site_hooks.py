"""What the site does to the pages, which are written for readers of the repository.

Pages link to files beside docs/, such as examples. The site has these files under ``repository/``: Markdown and code as
pages, all else as it is. A comment ``<!-- ::: NAME -->`` becomes the documentation of that name.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

LINK = re.compile(r'(?P<before>\]\(|\b(?:src|href)=")(?P<target>[^)\s"#:]+)(?P<anchor>#[^)\s"]*)?(?=[)\s"])')
"""A relative link, in Markdown or in HTML."""
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".cu": "cuda", ".cpp": "cpp", ".h": "cpp", ".yml": "yaml"}
"""Kinds of code, by the ending of a file."""
PREFIX = "repository/"
BARE_NAME = re.compile(r'<div class="doc-signature highlight"><pre>(?:<[^>]+>)*\w+(?:</span>)?\s*</code></pre></div>')
"""The box of an attribute that says no more than its heading."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring the files that pages link to, and those that these link to."""
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        file = waiting.pop()
        for target in _targets(file, config):
            uri = _uri(target, config)
            if uri.startswith(PREFIX) and files.get_file_from_path(uri) is None:
                files.append(_brought(target, uri, config))
                waiting += [files.src_uris[uri]] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where the site has the files, and comments become documentation."""
    if _is_code(page.file):
        return markdown
    here = posixpath.dirname(page.file.src_uri)

    def respell(match: re.Match[str]) -> str:
        target = _resolve(page.file, match["target"], config)
        if target is None:
            return match[0]
        uri = _uri(target, config)
        anchor = (match["anchor"] or "") if target.suffix == ".md" else ""
        return f"{match['before']}{posixpath.relpath(uri, here)}{anchor}"

    markdown = LINK.sub(respell, markdown)
    return re.sub(r"^<!-- (::: \S+) -->$", r"\1", markdown, flags=re.MULTILINE)


def on_page_content(html: str, **_: Any) -> str:
    """Mend how docstrings are shown.

    Names of Sphinx's roles, such as ``:func:``, are left out before a name.
    """
    html = re.sub(r":(?:func|class|data|mod|meth|attr|exc):(?=<code)", "", html)
    return BARE_NAME.sub("", html)


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent


def _path(file: File, config: MkDocsConfig) -> Path:
    """Where a file of the site lies in the repository."""
    return Path(file.abs_src_path or _root(config) / file.src_uri.removeprefix(PREFIX))


def _targets(file: File, config: MkDocsConfig) -> Iterator[Path]:
    for match in LINK.finditer(file.content_string):
        if (target := _resolve(file, match["target"], config)) is not None:
            yield target


def _is_code(file: File) -> bool:
    """Whether a page shows a file of code, where a call of a list's item looks like a link."""
    name = PurePosixPath(file.src_uri)
    return file.src_uri.startswith(PREFIX) and name.with_suffix("").suffix in LANGUAGES


def _resolve(file: File, link: str, config: MkDocsConfig) -> Path | None:
    """The file or directory of the repository that a link leads to, or None for a link that MkDocs checks itself."""
    here, root, docs = _path(file, config), _root(config), Path(config.docs_dir)
    target = Path(posixpath.normpath(here.parent / link))
    if target.is_relative_to(docs) and here.is_relative_to(docs):
        return None
    if not target.is_relative_to(root) or not target.exists():
        raise PluginError(f"{here}: links to {link}, and there is no such file in the repository")
    readme = target / "README.md"
    return readme if readme.is_file() else target


def _uri(target: Path, config: MkDocsConfig) -> str:
    """The place of a file of the repository among the files of the site."""
    docs = Path(config.docs_dir)
    if target.is_relative_to(docs):
        return target.relative_to(docs).as_posix()
    page = ".md" if target.is_dir() or target.suffix in LANGUAGES else ""
    return f"{PREFIX}{target.relative_to(_root(config)).as_posix()}{page}"


def _brought(target: Path, uri: str, config: MkDocsConfig) -> File:
    name = target.relative_to(_root(config)).as_posix()
    head = f"---\nsearch:\n  exclude: true\n---\n\n# {name}\n\n"
    if target.is_dir():
        entries = "\n".join(f"- `{entry.name}`" for entry in sorted(target.iterdir()))
        return File.generated(config, uri, content=f"{head}{entries}\n")
    if target.suffix in LANGUAGES:
        code = target.read_text(encoding="utf-8")
        return File.generated(config, uri, content=f"{head}````{LANGUAGES[target.suffix]}\n{code}\n````\n")
    return File.generated(config, uri, abs_src_path=str(target))
