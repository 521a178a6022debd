/* SPDX-License-Identifier: MIT
 *
 * Claims about headers: tus values, ranges, conditions, dispositions. Tables, one row a case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "download_rules.h"
#include "tus_headers.h"

/* ---- tus ------------------------------------------------------------------------------------------------------------ */

static void test_numbers_are_digits_up_to_2_63(void **s)
{
    (void)s;
    static const struct {
        const char *text;
        wr_err code;
        uint64_t value;
    } rows[] = {{"0", WR_OK, 0},
                {"11", WR_OK, 11},
                {"007", WR_OK, 7},
                {"", WR_ERR_INVALID, 0},
                {"-1", WR_ERR_INVALID, 0},
                {"+1", WR_ERR_INVALID, 0},
                {" 1", WR_ERR_INVALID, 0},
                {"1 ", WR_ERR_INVALID, 0},
                {"0x10", WR_ERR_INVALID, 0},
                {"1e3", WR_ERR_INVALID, 0},
                {"abc", WR_ERR_INVALID, 0},
                {"1,2", WR_ERR_INVALID, 0},
                {"9223372036854775807", WR_OK, INT64_MAX},
                {"9223372036854775808", WR_ERR_TOO_BIG, 0},
                {"99999999999999999999999999999999", WR_ERR_TOO_BIG, 0},
                {"99999999999999999999999999999999x", WR_ERR_INVALID, 0}};
    for (size_t i = 0; i < WR_ARRAY_LEN(rows); i++) {
        uint64_t v = 0;
        if (tus_parse_number(rows[i].text, &v) != rows[i].code ||
            (rows[i].code == WR_OK && v != rows[i].value))
            fail_msg("\"%s\"", rows[i].text);
    }
}

static void test_metadata_is_decoded(void **s)
{
    (void)s;
    struct tus_metadata m;
    struct wr_errmsg err;
    assert_int_equal(
        tus_parse_metadata(
            "filename aGVsbG8udHh0,filetype VEVYVC9QTEFJTg==, room ZGVtbw==,name QW5u,empty,x ", &m,
            &err),
        WR_OK);
    assert_string_equal(m.filename, "hello.txt");
    assert_string_equal(m.filetype, "text/plain");
    assert_string_equal(m.room, "demo");
    assert_string_equal(m.name, "Ann");
    assert_int_equal(tus_parse_metadata("", &m, &err), WR_OK);
    assert_string_equal(m.filename, "");
    /* Uppy's `name` is the file's. */
    assert_int_equal(tus_parse_metadata("filename YS50eHQ=,name YS50eHQ=", &m, &err), WR_OK);
    assert_string_equal(m.name, "");
}

static void test_names_lose_paths_and_marks(void **s)
{
    (void)s;
    struct tus_metadata m;
    struct wr_errmsg err;
    assert_int_equal(tus_parse_metadata("filename Li4vLi4vZXRjL3Bhc3N3ZA==", &m, &err),
                     WR_OK); /* ../../etc/passwd */
    assert_string_equal(m.filename, "passwd");
    assert_int_equal(tus_parse_metadata("filename QzpcdG1wXGEudHh0", &m, &err),
                     WR_OK); /* C:\tmp\a.txt */
    assert_string_equal(m.filename, "a.txt");
    assert_int_equal(tus_parse_metadata("filename YQ0KYuKArmNvZC5leGU=", &m, &err),
                     WR_OK); /* a CR LF b RLO cod.exe */
    assert_string_equal(m.filename, "abcod.exe");
    assert_int_equal(tus_parse_metadata("filetype aW1hZ2UvcG5nDQpYOiB5", &m, &err), WR_OK);
    assert_string_equal(m.filetype, "");
}

static void test_long_names_are_cut_at_a_character(void **s)
{
    (void)s;
    char out[8];
    tus_clean(wr_slice_str("abcde\xe4\xb8\xad"), out, sizeof out);
    assert_string_equal(out, "abcde");
    tus_clean(wr_slice_str("abcd\xe4\xb8\xad"), out, sizeof out);
    assert_string_equal(out, "abcd\xe4\xb8\xad");
}

static void test_a_long_file_name_keeps_its_ending(void **s)
{
    (void)s;
    static const struct {
        unsigned times; /* of \u6587, three bytes */
        const char *ending;
        unsigned left; /* of times */
        const char *kept;
    } rows[] = {
        {84, ".pdf", 83, ".pdf"}, /* 256 bytes: one too many */
        {83, ".pdf", 83, ".pdf"},
        {200, ".tar", 83, ".tar"},
        {200, "", 85, ""},
        {200, ".", 85, ""},
        {200, ".not an ending", 85, ""},
        {200, ".waytoolongforanending", 85, ""},
    };
    for (size_t i = 0; i < WR_ARRAY_LEN(rows); i++) {
        char in[1024] = "", out[256];
        struct wr_buf want = {0};
        for (unsigned k = 0; k < rows[i].times; k++)
            strcat(in, "\u6587");
        strcat(in, rows[i].ending);
        for (unsigned k = 0; k < rows[i].left; k++)
            wr_buf_str(&want, "\u6587");
        wr_buf_str(&want, rows[i].kept);
        wr_buf_char(&want, 0);
        tus_clean_name(wr_slice_str(in), out, sizeof out);
        assert_string_equal(out, (const char *)want.p);
        wr_buf_free(&want);
    }
}

static void test_bad_metadata_is_refused(void **s)
{
    (void)s;
    static const char *const rows[] = {
        ",",         "a YQ==,",       ",a YQ==",   "a YQ==,a YQ==",  "a !!!!",    "a YQ==x",
        "a Y",       "a YQ===",       "a Y Q==",   "f\xc3\xbc YQ==", "a\tb YQ==", "filename /w==",
        "room Li4v", "room Lmhpbg==", "name /w==", "a YR==",         "room YS9i",
    };
    for (size_t i = 0; i < WR_ARRAY_LEN(rows); i++) {
        struct tus_metadata m;
        struct wr_errmsg err = {{0}};
        if (tus_parse_metadata(rows[i], &m, &err) != WR_ERR_INVALID || !err.text[0])
            fail_msg("\"%s\"", rows[i]);
    }
    struct tus_metadata m;
    struct wr_errmsg err;
    char *big = malloc(TUS_METADATA_MAX + 2);
    assert_non_null(big);
    memset(big, 'a', TUS_METADATA_MAX + 1);
    big[TUS_METADATA_MAX + 1] = 0;
    assert_int_equal(tus_parse_metadata(big, &m, &err), WR_ERR_TOO_BIG);
    free(big);
}

static void test_offset_type_may_have_parameters(void **s)
{
    (void)s;
    assert_true(tus_is_offset_type("application/offset+octet-stream"));
    assert_true(tus_is_offset_type("Application/Offset+Octet-Stream; charset=x"));
    assert_false(tus_is_offset_type("application/octet-stream"));
    assert_false(tus_is_offset_type("application/offset+octet-streamx"));
    assert_false(tus_is_offset_type(""));
    assert_false(tus_is_offset_type(NULL));
}

/* ---- ranges --------------------------------------------------------------------------------------------------------- */

static void test_ranges(void **s)
{
    (void)s;
    static const struct {
        const char *header;
        uint64_t size;
        enum dl_part part;
        uint64_t first, last;
    } rows[] = {
        {NULL, 10, DL_WHOLE, 0, 0},
        {"bytes=0-0", 10, DL_PART, 0, 0},
        {"bytes=0-9", 10, DL_PART, 0, 9},
        {"bytes=5-", 10, DL_PART, 5, 9},
        {"bytes=5-100", 10, DL_PART, 5, 9},
        {"bytes=9-", 10, DL_PART, 9, 9},
        {"bytes=10-", 10, DL_UNSATISFIABLE, 0, 0},
        {"bytes=10-20", 10, DL_UNSATISFIABLE, 0, 0},
        {"bytes=-5", 10, DL_PART, 5, 9},
        {"bytes=-10", 10, DL_PART, 0, 9},
        {"bytes=-100", 10, DL_PART, 0, 9},
        {"bytes=-0", 10, DL_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, DL_WHOLE, 0, 0},
        {"bytes=0-0", 0, DL_WHOLE, 0, 0},
        {"bytes=-5", 0, DL_WHOLE, 0, 0},
        {"bytes=5-2", 10, DL_WHOLE, 0, 0},
        {"bytes=", 10, DL_WHOLE, 0, 0},
        {"bytes=-", 10, DL_WHOLE, 0, 0},
        {"bytes=a-b", 10, DL_WHOLE, 0, 0},
        {"bytes=1-2x", 10, DL_WHOLE, 0, 0},
        {"bytes 1-2", 10, DL_WHOLE, 0, 0},
        {"chunks=1-2", 10, DL_WHOLE, 0, 0},
        {"Bytes = 1-2 ", 10, DL_PART, 1, 2},
        {"bytes=0-1,3-4", 10, DL_WHOLE, 0, 0},
        {"bytes=0-0,0-0,0-0,0-0", 10, DL_WHOLE, 0, 0},
        {"bytes=99999999999999999999-", 10, DL_UNSATISFIABLE, 0, 0},
        {"bytes=0-99999999999999999999", 10, DL_PART, 0, 9},
        {"bytes=-99999999999999999999", 10, DL_PART, 0, 9},
        {"bytes=--5", 10, DL_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < WR_ARRAY_LEN(rows); i++) {
        struct dl_range r = dl_parse_range(rows[i].header, rows[i].size);
        if (r.part != rows[i].part ||
            (r.part == DL_PART && (r.first != rows[i].first || r.last != rows[i].last)))
            fail_msg("%s of %llu: %d %llu-%llu", rows[i].header, (unsigned long long)rows[i].size,
                     r.part, (unsigned long long)r.first, (unsigned long long)r.last);
    }
}

#define DAY "Sun, 06 Nov 1994 08:49:37 GMT"
#define DAY_S 784111777

static void test_dates_of_three_forms(void **s)
{
    (void)s;
    int64_t t;
    char text[32];
    assert_true(dl_parse_date(DAY, &t) && t == DAY_S);
    assert_true(dl_parse_date("Sunday, 06-Nov-94 08:49:37 GMT", &t) && t == DAY_S);
    assert_true(dl_parse_date("Sun Nov  6 08:49:37 1994", &t) && t == DAY_S);
    assert_false(dl_parse_date("yesterday", &t));
    assert_false(dl_parse_date("", &t));
    dl_format_date(DAY_S, text);
    assert_string_equal(text, DAY);
}

static void test_conditions(void **s)
{
    (void)s;
    static const struct {
        struct dl_conditions c;
        int status;
    } rows[] = {
        {{0}, 0},
        {{.if_none_match = "\"abc\""}, 304},
        {{.if_none_match = "W/\"abc\""}, 304},
        {{.if_none_match = "\"x\", \"abc\""}, 304},
        {{.if_none_match = "\"x\" ,W/\"abc\",\"y\""}, 304},
        {{.if_none_match = "*"}, 304},
        {{.if_none_match = "\"abcd\""}, 0},
        {{.if_none_match = "abc"}, 0},
        {{.if_none_match = "\"a, \"abc"}, 0},
        {{.if_modified_since = DAY}, 304},
        {{.if_modified_since = "Sun, 06 Nov 1994 08:49:36 GMT"}, 0},
        {{.if_modified_since = "rubbish"}, 0},
        {{.if_none_match = "\"x\"", .if_modified_since = DAY}, 0},
        {{.if_match = "\"abc\""}, 0},
        {{.if_match = "W/\"abc\""}, 412},
        {{.if_match = "\"x\""}, 412},
        {{.if_match = "*"}, 0},
        {{.if_unmodified_since = DAY}, 0},
        {{.if_unmodified_since = "Sun, 06 Nov 1994 08:49:36 GMT"}, 412},
        {{.if_match = "\"abc\"", .if_none_match = "\"abc\""}, 304},
    };
    for (size_t i = 0; i < WR_ARRAY_LEN(rows); i++)
        if (dl_evaluate(&rows[i].c, "\"abc\"", DAY_S) != rows[i].status)
            fail_msg("row %zu", i);
    assert_true(dl_if_range(NULL, "\"abc\"", DAY_S));
    assert_true(dl_if_range("\"abc\"", "\"abc\"", DAY_S));
    assert_false(dl_if_range("W/\"abc\"", "\"abc\"", DAY_S));
    assert_false(dl_if_range("\"abd\"", "\"abc\"", DAY_S));
    assert_true(dl_if_range(DAY, "\"abc\"", DAY_S));
    assert_false(dl_if_range(DAY, "\"abc\"", DAY_S + 1));
}

/* ---- dispositions --------------------------------------------------------------------------------------------------- */

static void assert_described(const char *name, const char *type, bool save, const char *want_type,
                             const char *want)
{
    struct wr_buf b = {0};
    char line[512];
    dl_describe(&b, name, type, save);
    wr_buf_char(&b, 0);
    snprintf(line, sizeof line, "Content-Type: %s\r\nContent-Disposition: %s\r\n", want_type, want);
    if (strncmp((char *)b.p, line, strlen(line)) != 0)
        fail_msg("got %s", (char *)b.p);
    assert_non_null(strstr((char *)b.p, "Content-Security-Policy: sandbox"));
    wr_buf_free(&b);
}

static void test_only_safe_types_are_shown(void **s)
{
    (void)s;
    assert_described("a.png", "image/png", false, "image/png",
                     "inline; filename=\"a.png\"; filename*=UTF-8''a.png");
    assert_described("a.png", "image/png", true, "image/png",
                     "attachment; filename=\"a.png\"; filename*=UTF-8''a.png");
    assert_described("a.txt", "text/plain", false, "text/plain; charset=utf-8",
                     "inline; filename=\"a.txt\"; filename*=UTF-8''a.txt");
    assert_described("a.mp4", "video/mp4", false, "video/mp4",
                     "inline; filename=\"a.mp4\"; filename*=UTF-8''a.mp4");
    assert_described("a.pdf", "application/pdf", false, "application/pdf",
                     "attachment; filename=\"a.pdf\"; filename*=UTF-8''a.pdf");
    static const char *const run[] = {"text/html",
                                      "audio/x\r\nX-Injected: 1",
                                      "video/",
                                      "audio/a/b",
                                      "image/svg+xml",
                                      "application/xhtml+xml",
                                      "text/javascript",
                                      "text/xml",
                                      "application/javascript",
                                      "text/css",
                                      "",
                                      "application/x-shockwave-flash"};
    for (size_t i = 0; i < WR_ARRAY_LEN(run); i++)
        assert_described("a", run[i], false, "application/octet-stream",
                         "attachment; filename=\"a\"; filename*=UTF-8''a");
}

static void test_names_in_dispositions_stay_inside(void **s)
{
    (void)s;
    assert_described("a\"b\\c;%.txt", "", false, "application/octet-stream",
                     "attachment; filename=\"a_b_c__.txt\"; filename*=UTF-8''a%22b%5Cc%3B%25.txt");
    assert_described("\xe4\xb8\xad.txt", "", false, "application/octet-stream",
                     "attachment; filename=\"_.txt\"; filename*=UTF-8''%E4%B8%AD.txt");
    assert_described("", "", false, "application/octet-stream",
                     "attachment; filename=\"file\"; filename*=UTF-8''file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_digits_up_to_2_63),
        cmocka_unit_test(test_metadata_is_decoded),
        cmocka_unit_test(test_names_lose_paths_and_marks),
        cmocka_unit_test(test_long_names_are_cut_at_a_character),
        cmocka_unit_test(test_a_long_file_name_keeps_its_ending),
        cmocka_unit_test(test_bad_metadata_is_refused),
        cmocka_unit_test(test_offset_type_may_have_parameters),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_dates_of_three_forms),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_only_safe_types_are_shown),
        cmocka_unit_test(test_names_in_dispositions_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
