/* What a token file may say: the table of its tokens, without any file. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/authentication/token_table.h"

static struct token_table *parse(const char *text)
{
    char error[300] = "";
    struct token_table *table = token_table_parse(text, strlen(text), NULL, error, sizeof error);

    if (!table)
        fail_msg("%s", error);
    return table;
}

static void expect_bytes(const char *bytes, size_t size, const char *words)
{
    char error[300] = "";

    assert_null(token_table_parse(bytes, size, NULL, error, sizeof error));
    if (!strstr(error, words))
        fail_msg("no \"%s\" in: %s", words, error);
    assert_null(strstr(error, "s3cret"));
}

static void expect_error(const char *text, const char *words)
{
    expect_bytes(text, strlen(text), words);
}

static void expect_found(const struct token_table *table, const char *token, const char *label)
{
    const struct token *found = token_table_find(table, token, strlen(token));
    char got[HTTP_IDENTITY_MAX];

    if (!label) {
        assert_null(found);
        return;
    }
    if (!found)
        fail_msg("%s is not there", token);
    token_label(found, got);
    assert_string_equal(got, label);
}

static void names(void **state)
{
    (void)state;
    struct token_table *table = parse("# the team\n"
                                      "tok-a alice\r\n"
                                      "\n"
                                      "  \t tok-b\t Bob B.  \n"
                                      "   # tok-c carol\n"
                                      "tok-d\n"
                                      "tok-e J\xc3\xbcrgen # not a comment\n"
                                      "tok-f alice");

    assert_int_equal(token_table_count(table), 5);
    expect_found(table, "tok-a", "alice");
    expect_found(table, "tok-b", "Bob B.");
    expect_found(table, "tok-c", NULL);
    expect_found(table, "tok-d", "token of line 6");
    expect_found(table, "tok-e", "J\xc3\xbcrgen # not a comment");
    expect_found(table, "tok-f", "alice"); /* two tokens of one user */
    expect_found(table, "tok", NULL);
    expect_found(table, "tok-aa", NULL);
    expect_found(table, "", NULL);
    expect_found(table, "tok-a alice", NULL);
    token_table_free(table);
    token_table_free(NULL);
}

static void files_without_a_token(void **state)
{
    (void)state;
    expect_error("", "contains no token");
    expect_error("\n \r\n\t\n", "contains no token");
    expect_error("# one\n#two", "contains no token");
}

static void files_that_are_no_plain_text(void **state)
{
    (void)state;
    expect_error("\xef\xbb\xbfs3cret\n", "byte order mark");
    expect_bytes("\xff\xfes\0"
                 "3\0",
                 6, "UTF-16");
    expect_bytes("s\0"
                 "3\0\n\0",
                 6, "UTF-16");
    expect_bytes("good\ns3cret\0s3cret\n", 20, "NUL bytes");
}

static void lines_that_are_wrong(void **state)
{
    (void)state;
    expect_error("good\n\"s3cret\" x\n", "line 2: the token is in quotes");
    expect_error("good\n\n 's3cret'\n", "line 3: the token is in quotes");
    expect_error("Bearer s3cret\n", "line 1: the token begins with the scheme of a header");
    expect_error("Authorization: Bearer s3cret", "line 1: the token begins with");
    expect_error("Snowflake Token=\"s3cret\"", "line 1: the token begins with");
    expect_error("{\"s3cret\":1}", "line 1: the token is JSON");
    /* Every line of a certificate would be a token, and everybody knows them. */
    expect_error("# server\n-----BEGIN CERTIFICATE-----\ns3cret\n", "line 2: the token is PEM");
    expect_error("s3cret\x1b[1m alice", "line 1: the token contains");
    expect_error("p\xc3\xa4ss alice", "line 1: the token contains a non-ASCII character");
    expect_error("one\rs3cret\n", "line 1: the token contains a line break");
    expect_error("good\ns3cret al\x07"
                 "ice\n",
                 "line 2: the name contains a control character");
    expect_error("s3cret a\rb\n", "line 1: the name contains a control character");
    expect_error("s3cret \xfc\n", "line 1: the name is not UTF-8");
    expect_error("s3cret a\xe2\x80\xae"
                 "b\n",
                 "line 1: the name contains a control character or");
    expect_error("s3cret token of line 9\n", "line 1: the name begins like the names");
}

/* Neither a token nor a name is ever cut; a comment may be as long as it likes. */
static void lines_that_are_long(void **state)
{
    (void)state;
    static char text[40000];
    char name[256];
    struct token_table *table;

    memset(text, 'x', sizeof text - 1);
    text[0] = '#';
    memcpy(text + 30000, "\ntok-a alice\n#", 14);
    table = parse(text);
    assert_int_equal(token_table_count(table), 1);
    expect_found(table, "tok-a", "alice");
    token_table_free(table);

    memset(text, 'x', sizeof text - 1);
    memcpy(text, "good\n", 5);
    expect_error(text, "line 2: the token is longer than 12 KiB");
    text[5 + 12 * 1024] = '\0';
    table = parse(text);
    assert_non_null(token_table_find(table, text + 5, 12 * 1024));
    assert_null(token_table_find(table, text + 5, 12 * 1024 - 1));
    token_table_free(table);

    memset(name, 'n', 255);
    name[255] = '\0';
    snprintf(text, sizeof text, "s3cret %s\ntok-b %.64s\ntok-c %.63s", name, name, name);
    table = parse(text);
    expect_found(table, "s3cret", name);
    expect_found(table, "tok-b", name + 255 - 64);
    expect_found(table, "tok-c", name + 255 - 63);
    token_table_free(table);
    snprintf(text, sizeof text, "s3cret %sn\n", name);
    expect_error(text, "line 1: the name is longer than 255 bytes");
}

static void the_same_token_twice(void **state)
{
    (void)state;
    expect_error("s3cret alice\nother bob\n\ns3cret mallory\n",
                 "line 4: the token is the same as in line 1, but the name is different");
    expect_error("s3cret alice\ns3cret\n", "line 2: the token is the same as in line 1");
    struct token_table *table = parse("tok-a alice\ntok-b\ntok-a  alice \ntok-b\ntok-c carol");
    assert_int_equal(token_table_count(table), 3);
    expect_found(table, "tok-a", "alice");
    expect_found(table, "tok-b", "token of line 2");
    expect_found(table, "tok-c", "carol");
    token_table_free(table);
}

/* sha256sum of "tok-a" */
static const char tok_a_digits[] =
    "4f66a4283f8bc9768c3cb97fd06d267b79315aee941c9c1727b9354509242ffe";

static void digests(void **state)
{
    (void)state;
    char text[400];
    char formatted[TOKEN_DIGEST_SIZE];

    snprintf(text, sizeof text, "sha256:%s alice\ntok-b bob\n", tok_a_digits);
    struct token_table *table = parse(text);
    expect_found(table, "tok-a", "alice");
    expect_found(table, "tok-b", "bob");
    text[7 + 64] = '\0';
    expect_found(table, text, NULL); /* whoever has read the file has no token */
    token_table_free(table);
    token_digest_format("tok-a", 5, formatted);
    assert_string_equal(formatted, text);
    for (char *at = text + 7; *at; at++)
        *at = (char)(*at >= 'a' ? *at - 'a' + 'A' : *at);
    table = parse(text);
    expect_found(table, "tok-a", "token of line 1");
    token_table_free(table);

    snprintf(text, sizeof text, "sha256:%s alice\ntok-a alice\n", tok_a_digits);
    table = parse(text);
    assert_int_equal(token_table_count(table), 1);
    token_table_free(table);
    snprintf(text, sizeof text, "sha256:%s alice\ntok-a bob\n", tok_a_digits);
    expect_error(text, "line 2: the token is the same as in line 1");
    snprintf(text, sizeof text, "sha256:%.63s alice\n", tok_a_digits);
    expect_error(text, "line 1: the token is not a digest");
    snprintf(text, sizeof text, "sha256:%s0 alice\n", tok_a_digits);
    expect_error(text, "line 1: the token is not a digest");
    snprintf(text, sizeof text, "sha256:%.63sg alice\n", tok_a_digits);
    expect_error(text, "line 1: the token is not a digest");
    expect_error("sha256: alice\n", "line 1: the token is not a digest");
    expect_error("Sha512:s3cret alice\n", "line 1: the token is a digest of a kind");
    expect_error("scrypt:s3cret alice\n", "line 1: the token is a digest of a kind");
}

static const int64_t in_2027 = 1801440000; /* 2027-02-01T00:00:00Z */

static void options_of_a_line(void **state)
{
    (void)state;
    struct token_table *table = parse("tok-a until=2027-01-31 alice\n"
                                      "tok-b\tuntil=2027-01-31T23:59:59Z  name=  uid=bob  \n"
                                      "tok-c name=carol c.\n"
                                      "tok-d until=2027-01-31\n"
                                      "tok-e CN=e,O=x until=2027-01-31\n");

    expect_found(table, "tok-a", "alice");
    expect_found(table, "tok-b", "uid=bob");
    expect_found(table, "tok-c", "carol c.");
    expect_found(table, "tok-d", "token of line 4");
    expect_found(table, "tok-e", "CN=e,O=x until=2027-01-31"); /* behind the name is the name */
    assert_int_equal(token_table_find(table, "tok-a", 5)->until, in_2027);
    assert_int_equal(token_table_find(table, "tok-b", 5)->until, in_2027 - 1);
    assert_int_equal(token_table_find(table, "tok-c", 5)->until, 0);
    assert_false(token_has_expired(token_table_find(table, "tok-a", 5), in_2027 - 1));
    assert_true(token_has_expired(token_table_find(table, "tok-a", 5), in_2027));
    assert_false(token_has_expired(token_table_find(table, "tok-c", 5), INT64_MAX));
    token_table_free(table);
    expect_error("good\ns3cret until=2027-02-29 alice\n", "line 2: the option until= is no date");
    expect_error("s3cret until=tomorrow", "line 1: the option until= is no date");
    expect_error("s3cret until=", "line 1: the option until= is no date");
    expect_error("s3cret until= 2027-01-31", "line 1: the option until= is no date");
    expect_error("s3cret until=2027-01-31 until=2027-01-31", "line 1: the option until= is there");
    expect_error("s3cret untill=2027-01-31 alice",
                 "line 1: the option is neither until=, rule= nor name=");
    expect_error("s3cret uid=alice,o=x", "write name= in front of a name");
    expect_error("s3cret name= ", "line 1: the option name= has no name");
    expect_error("s3cret name=token of line 3", "line 1: the name begins like");
    expect_error("s3cret until=2027-01-31 alice\ns3cret until=2027-02-01 alice\n",
                 "line 2: the token is the same as in line 1, but until= is different");
}

static void expect_rules(const struct token_table *table, const char *name, const char *rules)
{
    const char *found = rule_choices_find(token_table_choices(table), name);

    if (!rules)
        assert_null(found);
    else if (!found)
        fail_msg("%s has no rules", name);
    else
        assert_string_equal(found, rules);
}

static void rules_of_users(void **state)
{
    (void)state;
    struct token_table *table = parse("tok-z rule=look zoe\n"
                                      "tok-a until=2027-01-31 rule=look,load-2 alice\n"
                                      "tok-a2 rule=look,load-2 until=2028-01-31 name= alice\n"
                                      "tok-b bob\n"
                                      "tok-c\n"
                                      "tok-z rule=look zoe\n"
                                      "tok-d name=rule=look\n");

    assert_int_equal(token_table_count(table), 6);
    expect_rules(table, "alice", "look,load-2");
    expect_rules(table, "zoe", "look");
    expect_rules(table, "bob", NULL);
    expect_rules(table, "rule=look", NULL);
    expect_rules(table, "token of line 5", NULL);
    assert_int_equal(token_table_choices(table)->count, 2);
    assert_int_equal(token_table_choices(table)->choices[0].line, 2); /* alice's */
    token_table_free(table);
    table = parse("tok-a alice\n");
    assert_null(token_table_choices(table));
    expect_rules(table, "alice", NULL);
    token_table_free(table);
    expect_error("good\ns3cret rule=look\n", "line 2: the option rule= needs a name behind it");
    expect_error("s3cret rule=a rule=b alice", "line 1: the option rule= is there twice");
    expect_error("s3cret rule= alice", "line 1: the option rule= is no list of rules");
    expect_error("s3cret rule=a,,b alice", "line 1: the option rule= is no list of rules");
    expect_error("s3cret rule=a, b alice", "line 1: the option rule= is no list of rules");
    expect_error("s3cret rule=look* alice", "line 1: the option rule= is no list of rules");
    expect_error("s3cret rule=2 alice", "line 1: the option rule= is no list of rules");
    expect_error("s3cret rule=", "line 1: the option rule= is no list of rules");
    expect_error("s3cret rule=a alice\ns3cret rule=b alice\n",
                 "line 2: the token is the same as in line 1, but rule= is different");
    /* Rights are a user's. */
    expect_error("good rule=a alice\nbob bob\ns3cret rule=a,b alice\n",
                 "line 3: the name is the same as in line 1, but rule= is different");
    expect_error("good alice\ns3cret rule=a alice\n",
                 "line 2: the name is the same as in line 1, but rule= is different");
}

static void many_rules_of_a_user(void **state)
{
    (void)state;
    char text[600];
    size_t size = (size_t)snprintf(text, sizeof text, "s3cret rule=r");

    for (int i = 1; i < 64; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, ",r%d", i);
    snprintf(text + size, sizeof text - size, " alice");
    struct token_table *table = parse(text);
    assert_true(rule_list_names(rule_choices_find(token_table_choices(table), "alice"), "r63"));
    assert_false(rule_list_names(rule_choices_find(token_table_choices(table), "alice"), "r64"));
    token_table_free(table);
    snprintf(text + size, sizeof text - size, ",r64 alice");
    expect_error(text, "line 1: the option rule= names more than 64 rules");
}

static struct token_table *follow(struct token_table *before, const char *text, size_t ended)
{
    char error[300] = "";
    struct token_table *table = token_table_parse(text, strlen(text), before, error, sizeof error);

    if (!table)
        fail_msg("%s", error);
    assert_int_equal(token_table_succeed(table, before, in_2027 - 1), ended);
    token_table_free(before);
    return table;
}

static struct grant *log_in(const struct token_table *table, const char *token)
{
    struct token *found = token_table_find(table, token, strlen(token));

    assert_non_null(found);
    return token_grant(found);
}

/* Who is in by a token stays in as long as the token is there, wherever it stands, and no longer.
 */
static void tables_that_follow(void **state)
{
    (void)state;
    char text[200];
    struct token_table *table = parse("tok-a alice\ntok-b\ntok-c carol\ntok-d dave\ntok-u u\n");
    struct grant *a = log_in(table, "tok-a");
    struct grant *also_a = log_in(table, "tok-a");
    struct grant *b = log_in(table, "tok-b");
    struct grant *c = log_in(table, "tok-c");
    struct grant *d = log_in(table, "tok-d");

    assert_ptr_equal(a, also_a);
    grant_release(also_a);
    snprintf(text, sizeof text,
             "# new\ntok-c carol\ntok-b\nsha256:%s until=2027-01-31 alice\ntok-d dave",
             tok_a_digits);
    table = follow(table, text, 0);
    assert_int_equal(grant_state(a), GRANT_GOOD);
    assert_int_equal(grant_state(b), GRANT_GOOD);
    assert_int_equal(grant_state(c), GRANT_GOOD);
    table = follow(table, "tok-a alice\ntok-c mallory\ntok-new dave\n", 3);
    assert_int_equal(grant_state(a), GRANT_GOOD);
    assert_int_equal(grant_state(b), GRANT_REVOKED);
    assert_int_equal(grant_state(c), GRANT_REVOKED);  /* somebody else's now */
    assert_int_equal(grant_state(d), GRANT_REPLACED); /* he has another one */
    assert_false(grant_keeps_session(grant_state(b)));
    assert_true(grant_keeps_session(grant_state(d)));
    struct grant *mallory = log_in(table, "tok-c");
    assert_int_equal(grant_state(mallory), GRANT_GOOD);
    grant_release(mallory);
    table = follow(table, "other\n", 1); /* nobody holds mallory's */
    assert_int_equal(grant_state(a), GRANT_REVOKED);
    token_table_free(table);
    grant_release(a);
    grant_release(b);
    grant_release(c);
    grant_release(d);
}

static void tokens_that_expire(void **state)
{
    (void)state;
    struct token_table *table = parse("tok-a until=2027-01-31 alice\n"
                                      "tok-b until=2027-01-31T12:00:00Z bob\n"
                                      "tok-bb bob\n"
                                      "tok-c until=2028-01-01 carol\n");
    struct grant *a = log_in(table, "tok-a");
    struct grant *b = log_in(table, "tok-b");
    struct grant *c = log_in(table, "tok-c");

    assert_int_equal(token_table_expire(table, in_2027 - 12 * 3600 - 1), 0);
    assert_int_equal(token_table_expire(table, in_2027 - 12 * 3600), 1);
    assert_int_equal(grant_state(b), GRANT_LAPSED); /* he has another one */
    assert_int_equal(token_table_expire(table, in_2027 - 1), 0);
    assert_int_equal(grant_state(a), GRANT_GOOD);
    assert_int_equal(token_table_expire(table, in_2027), 1);
    assert_int_equal(grant_state(a), GRANT_EXPIRED);
    assert_int_equal(grant_state(c), GRANT_GOOD);
    assert_int_equal(token_table_expire(table, in_2027 + 1), 0);
    /* The clock was wrong. What has ended has ended, but the token is good again, for once more. */
    assert_int_equal(token_table_expire(table, in_2027 - 100), 0);
    grant_release(a);
    a = log_in(table, "tok-a");
    assert_int_equal(grant_state(a), GRANT_GOOD);
    assert_int_equal(token_table_expire(table, in_2027), 1);
    assert_int_equal(grant_state(a), GRANT_EXPIRED);
    grant_release(a);
    grant_release(b);
    grant_release(c);
    token_table_free(table);
}

static char *many(size_t count)
{
    char *text = malloc(count * 32 + 1);
    char *at = text;

    for (size_t i = 0; i < count; i++)
        at += sprintf(at, "tok-%zu user %zu\n", i, i);
    return text;
}

static void as_many_as_there_may_be(void **state)
{
    (void)state;
    char *text = many(TOKENS_MAX);
    struct token_table *table = parse(text);
    char token[32];
    char label[32];

    assert_int_equal(token_table_count(table), TOKENS_MAX);
    for (size_t i = 0; i < TOKENS_MAX; i++) {
        snprintf(token, sizeof token, "tok-%zu", i);
        snprintf(label, sizeof label, "user %zu", i);
        expect_found(table, token, label);
        snprintf(token, sizeof token, "tok-%zu-", i);
        expect_found(table, token, NULL);
    }
    token_table_free(table);
    free(text);
    text = many(TOKENS_MAX + 1);
    expect_error(text, "line 10001: there are more than 10000 tokens");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(files_without_a_token),
        cmocka_unit_test(files_that_are_no_plain_text),
        cmocka_unit_test(lines_that_are_wrong),
        cmocka_unit_test(lines_that_are_long),
        cmocka_unit_test(the_same_token_twice),
        cmocka_unit_test(digests),
        cmocka_unit_test(options_of_a_line),
        cmocka_unit_test(rules_of_users),
        cmocka_unit_test(many_rules_of_a_user),
        cmocka_unit_test(tables_that_follow),
        cmocka_unit_test(tokens_that_expire),
        cmocka_unit_test(as_many_as_there_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
