"""A form that is written as Markdown, as a page for people who read and print it."""

from markdown_it import MarkdownIt
from markupsafe import Markup

from gem_assets.printable import printable
from gem_assets.report.pages import render


def markdown_page(title: str, text: str, footer: str = "") -> str:
    """Render CommonMark with tables as a self-contained page.

    Markup in the text is shown and not obeyed, pictures are not loaded, and a link leads to a web address or nowhere:
    statements of a provider and names from crawled pages stand in these forms.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return render("form.html", title, footer, article=Markup(reader.render(printable(text, lines=True))))  # noqa: S704
