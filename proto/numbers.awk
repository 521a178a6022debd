# SPDX-License-Identifier: MIT
#
# Writes the field numbers of a .proto file as a C header, so that who reads or writes the wire form by hand (lib/base/wr_pb.h)
# takes them from the contract and not from memory:
#
#     awk -f proto/numbers.awk -v name=hub proto/watchroom/v1/hub.proto >hub.numbers.h
#
# A field `offset` of a message `RoomTop` is WR_PB_ROOM_TOP_OFFSET. Messages lie side by side (what a message in a message
# would be called, nobody had to decide yet: it is refused). Two names that become one are an error of the compiler.

function fail(what)
{
    printf "%s: %s\n", FILENAME, what >"/dev/stderr"
    failed = 1
    exit 1
}

# RoomTop -> ROOM_TOP; a row of capitals is one word (AVInfo -> AV_INFO), and digits stay with what is before them.
function shout(camel,    i, c, out, before, after)
{
    out = ""
    for (i = 1; i <= length(camel); i++) {
        c = substr(camel, i, 1)
        before = substr(camel, i - 1, 1)
        after = substr(camel, i + 1, 1)
        if (i > 1 && c ~ /[A-Z]/ && (before ~ /[a-z0-9]/ || (before ~ /[A-Z]/ && after ~ /[a-z]/)))
            out = out "_"
        out = out toupper(c)
    }
    return out
}

# What stands before a brace opens a block; what stands before a semicolon is a statement of the innermost one.
function opened(head,    word)
{
    split(head, word, " ")
    if (word[1] == "message" && inside[depth] == "message")
        fail("message " word[2] " inside of another one: give it a place of its own")
    depth++
    inside[depth] = word[1]
    if (word[1] == "message") {
        message = word[2]
        fields = 0
    }
    # A choice's fields are the message's.
    if (word[1] == "oneof")
        inside[depth] = "message"
}

function closed()
{
    if (depth == 0)
        fail("a brace too many")
    if (inside[depth] == "message" && inside[depth - 1] != "message" && fields > 0)
        print "};"
    depth--
}

function stated(statement,    word, n, number)
{
    if (inside[depth] != "message" || statement ~ /^(reserved|option|extensions) /)
        return
    sub(/\[.*$/, "", statement)
    if (statement !~ /=[ ]*[0-9]+[ ]*$/)
        fail("message " message ": no field number in '" statement "'")
    number = statement
    sub(/^.*=[ ]*/, "", number)
    sub(/[ ]*=.*$/, "", statement)
    n = split(statement, word, " ")
    if (fields++ == 0)
        printf "\n/* %s */\nenum {\n", message
    printf "    WR_PB_%s_%s = %d,\n", shout(message), toupper(word[n]), number
    all++
}

BEGIN {
    inside[0] = "file"
    print "/* SPDX-License-Identifier: MIT"
    print " *"
    print " * Made by proto/numbers.awk from proto/watchroom/v1/" name ".proto: the numbers of its messages' fields. */"
    print "#ifndef WATCHROOM_V1_" toupper(name) "_NUMBERS_H"
    print "#define WATCHROOM_V1_" toupper(name) "_NUMBERS_H"
}

{
    sub(/\/\/.*$/, "")
    gsub(/[\t\r]/, " ")
    text = text $0 " "
}

END {
    if (failed)
        exit 1
    while (match(text, /[{};]/)) {
        head = substr(text, 1, RSTART - 1)
        mark = substr(text, RSTART, 1)
        text = substr(text, RSTART + 1)
        gsub(/^ +| +$/, "", head)
        if (mark == "{")
            opened(head)
        else if (mark == "}")
            closed()
        else if (head != "")
            stated(head)
    }
    if (depth != 0)
        fail("a brace is missing")
    if (all == 0)
        fail("no fields: is this a .proto file?")
    print "\n#endif"
}
