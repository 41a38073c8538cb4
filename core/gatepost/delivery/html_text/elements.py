"""What HTML's elements mean to a text."""


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


VOID = _names("area base basefont bgsound br col embed frame hr img input link meta param source track wbr")
"""They have no content and no end."""

UNFOLLOWED = _names("html body head tbody thead tfoot colgroup")
"""They part nothing, and may be left out."""

INLINE = _names(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q rb rp rt ruby s samp"
    " small span strike strong sub sup time tt u var"
)
"""They stand in a line. Mails close them in any order, so they are followed only where something is hidden."""

HIDDEN = _names("datalist iframe noembed noframes script style template title")
"""What is in them is not shown."""

PREFORMATTED = _names("pre listing xmp plaintext textarea")
"""A line break in them is one."""

PARAGRAPHS = _names("blockquote dl fieldset h1 h2 h3 h4 h5 h6 listing menu ol p plaintext pre table ul xmp")
"""An empty line parts them from what is around."""

BLOCKS = _names(
    "address article aside caption center dd details dialog dir div dt figcaption figure footer form header legend"
    " li main nav optgroup option section select summary textarea tr"
)
"""They begin a line and end one."""

SCOPES = _names("table ul ol menu select")
"""What is open around them can't be closed from inside."""

CLOSES = {
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
"""What ends where one of these begins, if its end was left out."""
