from gem_assets.demo.manual import manual_text

PAGE = r""".\" a comment
.TH FOO 1 "2020-01-01"
.de XX
this is a macro, not text
..
.SH "NAME"
\fBfoo\fR \- do things
.SH SYNOPSIS
.B foo
.RI [ file ...]
.TP
.BR \-a ", " \-\-all
Show \(lqeverything\(rq\&.
.IP "key" 4
Ends here.\"remark
.nf
  code \e n
.fi
"""


def test_a_page_reads_as_text():
    assert manual_text(PAGE).split("\n") == [
        "NAME",
        "foo - do things",
        "",
        "SYNOPSIS",
        "foo",
        "[file...]",
        "",
        "-a, --all",
        'Show "everything".',
        "",
        "key",
        "Ends here.",
        "  code \\ n",
    ]


def test_accented_letters_are_composed():
    assert manual_text(r"\('e\['e]\(:u\[u00DF]\(ss") == "ééüßß"


def test_an_odd_quote_does_not_fail():
    assert manual_text('.B "foo bar') == "foo bar"


def test_mdoc_pages_give_nothing():
    assert manual_text(".Dd May 1, 2020\n.Sh NAME\ntext\n") == ""
