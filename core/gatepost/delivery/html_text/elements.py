"""The meaning of HTML elements for a plain text."""


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


VOID = _names("area base basefont bgsound br col embed frame hr img input link meta param source track wbr")
"""Elements without content and without an end tag."""

IGNORED = _names("html body head tbody thead tfoot colgroup")
"""Elements that separate nothing and whose tags may be missing."""

INLINE = _names(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q rb rp rt ruby s samp"
    " small span strike strong sub sup time tt u var"
)
"""Elements within a line. Mails close them in any order, so they are tracked only where something is hidden."""

HIDDEN = _names("datalist iframe noembed noframes script style template title")
"""Elements whose content is not shown."""

PREFORMATTED = _names("pre listing xmp plaintext textarea")
"""Elements in which line breaks and blanks are shown as they are."""

PARAGRAPHS = _names("blockquote dl fieldset h1 h2 h3 h4 h5 h6 listing menu ol p plaintext pre table ul xmp")
"""Elements with an empty line before and after them."""

BLOCKS = _names(
    "address article aside caption center dd details dialog dir div dt figcaption figure footer form header legend"
    " li main nav optgroup option section select summary textarea tr"
)
"""Elements that begin and end a line."""

SCOPES = _names("table ul ol menu select")
"""Elements inside which an end tag can't close an element around them."""

IMPLIED_ENDS = {
    "li": ("li",),
    "dt": ("dt", "dd"),
    "dd": ("dt", "dd"),
    "option": ("option",),
    "tr": ("tr",),
    "td": ("td", "th"),
    "th": ("td", "th"),
    "tbody": ("tr",),
    "tfoot": ("tr",),
}
"""For a start tag the open elements that it ends, where their end tags are missing."""
