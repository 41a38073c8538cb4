"""Mails as newsletter editors, shops and people write them, and the expected text of each."""

MJML = """<!doctype html><html xmlns="http://www.w3.org/1999/xhtml" xmlns:v="urn:schemas-microsoft-com:vml"><head>
<title>Welcome</title><!--[if !mso]><!--><meta http-equiv="X-UA-Compatible" content="IE=edge"><!--<![endif]-->
<meta http-equiv="Content-Type" content="text/html; charset=UTF-8"><style type="text/css">#outlook a { padding:0; }
@media only screen and (min-width:480px) { .mj-column-per-100 { width:100% !important; } }</style>
<!--[if mso]><noscript><xml><o:OfficeDocumentSettings><o:AllowPNG/></o:OfficeDocumentSettings></xml></noscript><![endif]-->
</head><body style="word-spacing:normal;background-color:#f4f4f4;">
<div style="display:none;font-size:1px;color:#ffffff;line-height:1px;max-height:0px;max-width:0px;opacity:0;overflow:hidden;">Your bonus is waiting &zwnj;&nbsp;&zwnj;&nbsp;&#847;&nbsp;</div>
<div style="background-color:#f4f4f4;"><!--[if mso | IE]><table align="center" border="0" width="600"><tr><td style="line-height:0px;font-size:0px;mso-line-height-rule:exactly;"><![endif]-->
<div style="margin:0px auto;max-width:600px;"><table align="center" border="0" cellpadding="0" cellspacing="0" role="presentation" style="width:100%;"><tbody><tr>
<td style="direction:ltr;font-size:0px;padding:20px 0;text-align:center;">
<div class="mj-column-per-100" style="font-size:0px;text-align:left;direction:ltr;display:inline-block;vertical-align:top;width:100%;">
<table border="0" cellpadding="0" cellspacing="0" role="presentation" style="vertical-align:top;" width="100%"><tbody>
<tr><td align="center" style="font-size:0px;padding:10px 25px;word-break:break-word;"><table border="0" role="presentation"><tbody><tr><td style="width:150px;"><a href="https://amazing.example/" target="_blank"><img alt="Amazing" height="auto" src="https://cdn.amazing.example/logo.png" style="border:0;display:block;font-size:13px;" width="150"/></a></td></tr></tbody></table></td></tr>
<tr><td align="left" style="font-size:0px;padding:10px 25px;word-break:break-word;"><div style="font-family:Arial;font-size:22px;line-height:1;text-align:left;color:#000000;">Welcome, {{contact.first_name|there}}!</div></td></tr>
<tr><td align="left" style="font-size:0px;padding:10px 25px;word-break:break-word;"><div style="font-family:Arial;font-size:14px;line-height:1.5;text-align:left;color:#333333;">Thank you for joining&nbsp;us.<br/>Your <b>100&nbsp;%</b> bonus is&nbsp;ready.</div></td></tr>
<tr><td align="center" vertical-align="middle" style="font-size:0px;padding:10px 25px;word-break:break-word;"><table border="0" role="presentation" style="border-collapse:separate;line-height:100%;"><tr><td align="center" bgcolor="#414141" role="presentation" style="border:none;border-radius:3px;cursor:auto;" valign="middle"><a href="https://amazing.example/play?a=1&amp;b=2" style="display:inline-block;background:#414141;color:#ffffff;font-family:Arial;font-size:13px;" target="_blank"> Play now </a></td></tr></table></td></tr>
</tbody></table></div></td></tr></tbody></table></div><!--[if mso | IE]></td></tr></table><![endif]--></div></body></html>"""

FOOTER = """<table role="presentation" width="100%"><tr><td align="center"><table role="presentation"><tr>
<td><a href="https://facebook.example/brand"><img src="f.png" alt="Facebook" width="24"></a></td>
<td><a href="https://x.example/brand"><img src="x.png" alt="X" width="24"></a></td>
<td width="8">&nbsp;</td>
<td><a href="https://instagram.example/brand"><img src="i.png" alt="Instagram" width="24"></a></td></tr></table></td></tr>
<tr><td align="center" style="font-size:11px">You get this mail because you have an account.<br>
<a href="{{unsubscribe_url}}">Unsubscribe</a> | <a href="https://brand.example/privacy">Privacy</a></td></tr>
<tr><td><img src="https://t.brand.example/open.gif" width="1" height="1" alt=""></td></tr></table>"""

INVOICE = """<h1>Invoice 2026-1107</h1><p>Dear Ms. M&uuml;ller,</p>
<table border="1" cellpadding="4"><thead><tr><th>Item</th><th>Qty</th><th align="right">Price</th></tr></thead>
<tbody><tr><td>Tea, green</td><td>2</td><td align="right">&euro;9.00</td></tr>
<tr><td>Cup</td><td></td><td align="right">&euro;4.50</td></tr></tbody>
<tfoot><tr><td colspan="2">Total</td><td align="right"><strong>&euro;13.50</strong></td></tr></tfoot></table>
<p>Pay until <em>1&nbsp;December</em>.</p>"""

OUTLOOK = """<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><style><!-- p.MsoNormal {margin:0cm;} --></style></head>
<body lang=EN-GB link="#0563C1"><div class=WordSection1><p class=MsoNormal>Hi Anna,<o:p></o:p></p>
<p class=MsoNormal><o:p>&nbsp;</o:p></p><p class=MsoNormal>Please see below.<o:p></o:p></p>
<p class=MsoListParagraph><![if !supportLists]><span style='mso-list:Ignore'>&middot;<span style='font:7.0pt "Times New Roman"'>&nbsp;&nbsp;&nbsp;</span></span><![endif]>First point<o:p></o:p></p>
<p class=MsoNormal style='mso-hide:all'>Only a robot reads this</p>
<p class=MsoNormal>Kind regards<br>Ben</p></div></body></html>"""

RTL = """<html dir="rtl" lang="he"><body><h2>שלום דנה,</h2><p>קיבלת <b>50&nbsp;סיבובים</b> חינם.
<a href="https://brand.example/he">לחצי כאן</a></p><p dir="ltr">Code: ABC-123</p></body></html>"""

ARABIC_PERSIAN = """<div dir="rtl"><p>مرحبا&nbsp;أحمد،</p><p>می&zwnj;خواهم بازی کنم</p></div>"""

CJK = """<div><h3>【重要】パスワード変更のお知らせ</h3><p>山田　太郎　様</p>
<p>いつもご利用いただき、<br>ありがとうございます。</p><ul><li>期限：11月30日</li><li>対象：全会員</li></ul>
<p>您的验证码是：<b>123456</b></p></div>"""

LISTS = """<p>Three steps:</p><ol><li>Open the app<ul><li>on the phone</li><li>or in the browser</li></ul></li>
<li><p>Log in</p></li><li>Play</li></ol><p>Then:</p><ol start="9"><li>Rest<li>Sleep</ol><ul><li><a href="https://a.example/">A</a></ul>"""

LINKS = """<p><a href="https://www.brand.example/">www.brand.example</a>, <a href="mailto:help@brand.example?subject=Hi">help@brand.example</a>,
<a href="mailto:help@brand.example">write to us</a>, <a href="tel:+441234">call</a>, <a href="#top">up</a>, <a href="javascript:alert(1)">no</a>,
<a name="here">here</a>, <a href=" https://brand.example/a b ">spaced</a>, <a href="https://brand.example/x"></a>
<a href="https://bank.example/">https://evil.example/</a> and <a href="https://brand.example/deal"><div>Big deal</div></a></p>"""

PREFORMATTED = """<p>Your log:</p><pre>
line 1
   line 2 &lt;ok&gt;

line 4</pre><div style="white-space:pre-wrap">as
typed</div>"""

PREHEADERS = """<span style="display:none!important">one</span><div style="max-height:0;overflow:hidden">two</div>
<div style='mso-hide:all;visibility:hidden'>three<b>3</b></div><div hidden>four<div>4</div>four</div>
<span style="font-size:0">five</span><span style="font-size:1px;opacity:0">six</span><div style="OPACITY: 0">seven</div>
<p style="display:none">eight<p>Shown<span style="opacity:0.9"> too</span>&zwnj;&nbsp;&zwnj;&nbsp;&#847; &shy;&#8203;&#65279;<i>.</i></p>"""

CONDITIONAL = """<p>Start</p><!--[if mso]><p>Only Outlook</p><![endif]--><!--[if !mso]><!--><p>All but Outlook</p><!--<![endif]-->
<![if !vml]><p>Revealed</p><![endif]><!----><!--><p>a</p><!-- --!><p>b</p>"""

BROKEN = """<p>One <b>two <i>three</b> four</i><p>Five<table><td>six<td>seven<tr><td>eight</table></div></span>nine < ten & <3 &amp <br/>
</p><li>stray item<h1>Title</p>after <a href="https://a.example/1">first<a href="https://a.example/2">second</a> <unknown-tag>kept</unknown-tag>"""

PRODUCTS = """<table role="presentation"><tr><td><img src="a.jpg" alt="Red shoes"><br>Red shoes, size 38<br><a href="https://shop.example/1">Buy</a></td>
<td><img src="b.jpg" alt="Blue shoes"><br>Blue shoes, size 39<br><a href="https://shop.example/2">Buy</a></td></tr></table>"""

COLUMNS = """<table><tr><td>A long paragraph that stands in the left column, as editors like to lay them out for wide screens.</td>
<td>Another long paragraph, in the right column, which nobody wants to read on one line with the first.</td></tr></table>"""

RECEIPT = """<table width="100%"><tr><td>Order</td><td align="right">#1234</td></tr><tr><td>Date</td><td align="right">26 November</td></tr>
<tr><td colspan="2"><hr></td></tr><tr><td><b>Total</b></td><td align="right"><b>12.00</b></td></tr></table>"""

QUOTE = """<div>See below.</div><blockquote type="cite"><div>On Monday Ben wrote:</div><div>Are you there?</div></blockquote><dl><dt>Term</dt><dd>What it means</dd></dl>"""

PLAIN_WORDS = "Hello &amp; welcome,\r\nthis is no HTML at all.  {{first}} &copy; 2026"

ENTITIES = "&lt;b&gt; &quot;x&quot; &#39;y&#39; &#x20AC; &euro &hellip;&nbsp;&mdash;&#128512;&#0;&#xD800;&#x110000;&#150; &notanentity; &notit; a&b=1 &AMP"

RAW_TEXT = """<title>No</title><script>var a = "</p><p>no"; if (a<b) {}</script>Yes<style>p>b{}</style><noscript>shown</noscript>
<textarea>typed <b></textarea><template><p>no</p></template><iframe><p>no</p></iframe><svg><title>no</title><path d="M0"/></svg>end"""

MAILS = {name.lower(): value for name, value in list(globals().items()) if name.isupper()}


TEXTS = {
    "mjml": """\
Amazing (https://amazing.example/)

Welcome, {{contact.first_name|there}}!

Thank you for joining us.
Your 100 % bonus is ready.

Play now (https://amazing.example/play?a=1&b=2)""",
    "footer": """\
Facebook (https://facebook.example/brand) | X (https://x.example/brand) | Instagram (https://instagram.example/brand)

You get this mail because you have an account.
Unsubscribe ({{unsubscribe_url}}) | Privacy (https://brand.example/privacy)""",
    "invoice": """\
Invoice 2026-1107

Dear Ms. Müller,

Item | Qty | Price
Tea, green | 2 | €9.00
Cup | | €4.50
Total | €13.50

Pay until 1 December.""",
    "outlook": """\
Hi Anna,

Please see below.

· First point

Kind regards
Ben""",
    "rtl": """\
שלום דנה,

קיבלת 50 סיבובים חינם. לחצי כאן (https://brand.example/he)

Code: ABC-123""",
    "arabic_persian": """\
مرحبا أحمد،

می‌خواهم بازی کنم""",
    "cjk": """\
【重要】パスワード変更のお知らせ

山田　太郎　様

いつもご利用いただき、
ありがとうございます。

* 期限：11月30日
* 対象：全会員

您的验证码是：123456""",
    "lists": """\
Three steps:

1. Open the app
   * on the phone
   * or in the browser

2. Log in

3. Play

Then:

9. Rest
10. Sleep

* A (https://a.example/)""",
    "links": """\
www.brand.example, help@brand.example, write to us (help@brand.example), call (+441234), up, no, here, spaced (https://brand.example/a b), https://evil.example/ (https://bank.example/) and

Big deal (https://brand.example/deal)""",
    "preformatted": """\
Your log:

line 1
   line 2 <ok>

line 4

as
typed""",
    "preheaders": """\
Shown too .""",
    "conditional": """\
Start

All but Outlook

Revealed

a

b""",
    "broken": """\
One two three four

Five

six | seven
eight

nine < ten & <3 &

* stray item

  Title

  after first (https://a.example/1)second (https://a.example/2) kept""",
    "products": """\
Red shoes
Red shoes, size 38
Buy (https://shop.example/1)

Blue shoes
Blue shoes, size 39
Buy (https://shop.example/2)""",
    "columns": """\
A long paragraph that stands in the left column, as editors like to lay them out for wide screens.

Another long paragraph, in the right column, which nobody wants to read on one line with the first.""",
    "receipt": """\
Order | #1234
Date | 26 November

--------------------

Total | 12.00""",
    "quote": """\
See below.

  On Monday Ben wrote:
  Are you there?

Term
  What it means""",
    "plain_words": """\
Hello & welcome, this is no HTML at all. {{first}} © 2026""",
    "entities": """\
<b> "x" 'y' € &euro … —😀���– ¬anentity; ¬it; a&b=1 &""",
    "raw_text": """\
Yesshown
typed <b>
end""",
}
"""What a reader gets of each."""
