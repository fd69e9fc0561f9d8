#include "broker_login/login_book.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "config/file_stamp.h"
#include "config/secret.h"

/* 1000 rules of 1 KB. */
enum { FILE_MAX_KIB = 1024, TLS_PATHS = 3 };

/* What a rule needs beside itself. */
struct login_secret {
    const char *path; /* of the rule; NULL: it needs none */
    struct file_stamp stamp;
    char *text;
    SSL_CTX *tls; /* NULL: without a certificate of its own */
    struct file_stamp tls_stamps[TLS_PATHS];
};

struct login_book {
    atomic_size_t references;
    const char *path;
    struct file_stamp stamp;
    const char *ca_file; /* of rules with certificates; NULL: none */
    struct file_stamp ca_stamp;
    struct rule_list rules;
    struct login_secret *secrets; /* one a rule */
    const char *exposed;
};

static void free_book(struct login_book *book)
{
    for (size_t i = 0; book->secrets && i < book->rules.count; i++) {
        secret_free(book->secrets[i].text);
        SSL_CTX_free(book->secrets[i].tls);
    }
    free(book->secrets);
    login_rules_free(&book->rules);
    free(book);
}

struct login_book *login_book_reference(struct login_book *book)
{
    atomic_fetch_add(&book->references, 1);
    return book;
}

void login_book_release(struct login_book *book)
{
    if (book && atomic_fetch_sub(&book->references, 1) == 1)
        free_book(book);
}

/* ---- reading */

static bool read_rules(struct login_book *book, char *error, size_t size)
{
    struct secret_bytes content;
    char why[SECRET_ERROR_MAX];

    /* Before it is read: a change in between is then noticed at the next look. */
    file_stamp_take(book->path, &book->stamp);
    if (!secret_read_large(book->path, FILE_MAX_KIB, &content, why)) {
        snprintf(error, size, "%s", why);
        return false;
    }
    int result = login_rules_parse(content.bytes, content.size, &book->rules, why, sizeof why);
    secret_bytes_free(&content);
    if (result != 0)
        snprintf(error, size, "%s %s", book->path, why);
    return result == 0;
}

static bool check_clusters(const struct login_book *book, const struct login_clusters *clusters,
                           char *error, size_t size)
{
    char why[200];

    for (size_t i = 0; i < book->rules.count; i++) {
        const struct login_rule *rule = login_book_rule(book, i);
        size_t at = 0;
        while (at < clusters->count && !login_rule_is_for(rule, clusters->all[at].name))
            at++;
        if (at < clusters->count)
            continue;
        rule_file_say(&rule->head, "is for none of the clusters in --kafka", why, sizeof why);
        snprintf(error, size, "%s %s", book->path, why);
        return false;
    }
    return true;
}

static bool read_login_secret(struct login_book *book, size_t place, char *error, size_t size)
{
    const struct login_rule *rule = login_book_rule(book, place);
    struct login_secret *secret = &book->secrets[place];
    char why[SECRET_ERROR_MAX];
    char rule_says[SECRET_ERROR_MAX + 100];
    bool exposed;

    secret->path = rule->password_file ? rule->password_file : rule->token_file;
    if (!secret->path)
        return true;
    file_stamp_take(secret->path, &secret->stamp);
    secret->text = secret_read_looking(
        secret->path, rule->token_file ? secret_check_token : secret_check_line, &exposed, why);
    if (!secret->text) {
        snprintf(rule_says, sizeof rule_says, "names a file of no use: %s", why);
        rule_file_say(&rule->head, rule_says, why, sizeof why);
        snprintf(error, size, "%s %s", book->path, why);
        return false;
    }
    if (exposed && !book->exposed)
        book->exposed = secret->path;
    return true;
}

static void list_tls_paths(const struct login_rule *rule, const char *paths[TLS_PATHS])
{
    paths[0] = rule->certificate;
    paths[1] = rule->key;
    paths[2] = rule->key_passphrase_file;
}

static bool read_certificate(struct login_book *book, size_t place,
                             const struct login_clusters *clusters, char *error, size_t size)
{
    const struct login_rule *rule = login_book_rule(book, place);
    struct login_secret *secret = &book->secrets[place];
    const struct tls_files files = {.cert_option = "kafka-login",
                                    .cert_file = rule->certificate,
                                    .key_option = "kafka-login",
                                    .key_file = rule->key,
                                    .passphrase_file = rule->key_passphrase_file,
                                    .ca_option = "kafka-ca",
                                    .ca_file = clusters->ca_file};
    const char *paths[TLS_PATHS];
    struct tls_error tls;
    char why[sizeof tls.text + 100];

    if (!rule->certificate)
        return true;
    if (!clusters->tls) {
        rule_file_say(&rule->head, "has a certificate, which needs --kafka-tls", why, sizeof why);
        snprintf(error, size, "%s %s", book->path, why);
        return false;
    }
    list_tls_paths(rule, paths);
    for (size_t i = 0; i < TLS_PATHS; i++)
        if (paths[i])
            file_stamp_take(paths[i], &secret->tls_stamps[i]);
    struct tls_material *material = tls_material_read(&files, NULL, &tls);
    if (material)
        secret->tls = tls_client_context(material, true, &tls);
    tls_material_free(material);
    if (!secret->tls) {
        rule_file_say(&rule->head, tls.text, why, sizeof why);
        snprintf(error, size, "%s %s", book->path, why);
    }
    return secret->tls != NULL;
}

struct login_book *login_book_read(const char *path, const struct login_clusters *clusters,
                                   char *error, size_t size)
{
    struct login_book *book = memory_new(sizeof *book);

    atomic_init(&book->references, 1);
    book->path = path;
    book->ca_file = clusters->ca_file;
    if (book->ca_file)
        file_stamp_take(book->ca_file, &book->ca_stamp);
    bool good = read_rules(book, error, size) && check_clusters(book, clusters, error, size);
    if (good)
        book->secrets = memory_new_array(book->rules.count, sizeof *book->secrets);
    for (size_t i = 0; good && i < book->rules.count; i++)
        good = read_login_secret(book, i, error, size) &&
               read_certificate(book, i, clusters, error, size);
    if (good)
        return book;
    free_book(book);
    return NULL;
}

static bool is_another(const char *path, const struct file_stamp *before)
{
    struct file_stamp now;

    file_stamp_take(path, &now);
    return !file_stamp_equal(&now, before);
}

static bool are_others(const struct login_rule *rule, const struct login_secret *secret)
{
    const char *paths[TLS_PATHS];

    list_tls_paths(rule, paths);
    for (size_t i = 0; i < TLS_PATHS; i++)
        if (paths[i] && is_another(paths[i], &secret->tls_stamps[i]))
            return true;
    return false;
}

bool login_book_has_changed(const struct login_book *book)
{
    if (is_another(book->path, &book->stamp))
        return true;
    bool certificates = false;
    for (size_t i = 0; i < book->rules.count; i++) {
        const struct login_secret *secret = &book->secrets[i];
        if ((secret->path && is_another(secret->path, &secret->stamp)) ||
            (secret->tls && are_others(login_book_rule(book, i), secret)))
            return true;
        certificates |= secret->tls != NULL;
    }
    return certificates && book->ca_file && is_another(book->ca_file, &book->ca_stamp);
}

/* ---- what it says */

size_t login_book_count(const struct login_book *book)
{
    return book->rules.count;
}

const struct login_rule *login_book_rule(const struct login_book *book, size_t place)
{
    return (const struct login_rule *)book->rules.rules + place;
}

size_t login_book_find(const struct login_book *book, const char *identity, const char *cluster)
{
    const struct login_rule *found = login_rules_find(&book->rules, identity, cluster);

    return found ? (size_t)(found - login_book_rule(book, 0)) : book->rules.count;
}

const char *login_book_secret(const struct login_book *book, size_t place)
{
    return book->secrets[place].text;
}

SSL_CTX *login_book_tls(const struct login_book *book, size_t place)
{
    return book->secrets[place].tls;
}

const char *login_book_exposed(const struct login_book *book)
{
    return book->exposed;
}
