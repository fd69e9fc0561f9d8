#include "broker_login/login_book.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "broker_login/login_source.h"
#include "config/file_stamp.h"
#include "config/secret.h"

/* 1000 rules of 1 KB. */
enum { FILE_MAX_KIB = 1024, RULE_PATHS = 3, SHARED_PATHS = 2 };

/* What a rule needs beside itself. */
struct login_place {
    const char *path; /* of a password, a token, or a client's secret; NULL: it needs none */
    struct file_stamp stamp;
    struct login_secret *secret; /* guarded by the lock; NULL: none, or it has not come */
    SSL_CTX *tls;                /* NULL: without a certificate of its own */
    struct file_stamp tls_stamps[RULE_PATHS];
    struct login_standing **standings; /* one a cluster; NULL: the rule has no login */
};

struct login_book {
    atomic_size_t references;
    const char *path;
    struct file_stamp stamp;
    /* What all rules with certificates share: --kafka-ca, --kafka-crl; NULL: none. */
    const char *shared_paths[SHARED_PATHS];
    struct file_stamp shared_stamps[SHARED_PATHS];
    size_t cluster_count;
    struct rule_list rules;
    pthread_mutex_t lock;
    struct login_place *places; /* one a rule */
    const char *exposed;
};

static void free_standings(const struct login_book *book, struct login_standing **standings)
{
    for (size_t i = 0; standings && i < book->cluster_count; i++)
        login_standing_release(standings[i]);
    free(standings);
}

static void free_book(struct login_book *book)
{
    for (size_t i = 0; book->places && i < book->rules.count; i++) {
        free_standings(book, book->places[i].standings);
        login_secret_release(book->places[i].secret);
        SSL_CTX_free(book->places[i].tls);
    }
    free(book->places);
    login_rules_free(&book->rules);
    pthread_mutex_destroy(&book->lock);
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
    /* It says who logs in as whom, and holds no secret. */
    if (content.writable)
        book->exposed = book->path;
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

static bool say_place(const struct login_book *book, const struct login_rule *rule,
                      const char *what, char *error, size_t size)
{
    char why[SECRET_ERROR_MAX + 100];

    rule_file_say(&rule->head, what, why, sizeof why);
    snprintf(error, size, "%s %s", book->path, why);
    return false;
}

/* secret_check_line(), and what SASL has room for; tokens are shorter anyway. */
static const char *check_password(const char *line, size_t size)
{
    if (size > SASL_SECRET_MAX)
        return "is longer than 16 KiB";
    return secret_check_line(line, size);
}

static_assert(SASL_SECRET_MAX == 16 * 1024 && SECRET_TOKEN_MAX <= SASL_SECRET_MAX,
              "check_password() says so");

static bool read_login_secret(struct login_book *book, size_t place, char *error, size_t size)
{
    const struct login_rule *rule = login_book_rule(book, place);
    struct login_place *its = &book->places[place];
    char why[SECRET_ERROR_MAX];
    char rule_says[SECRET_ERROR_MAX + 100];
    bool exposed;

    its->path = rule->password_file ? rule->password_file
                : rule->token_file  ? rule->token_file
                                    : rule->client_secret_file;
    if (!its->path)
        return true;
    file_stamp_take(its->path, &its->stamp);
    char *text = secret_read_looking(
        its->path, rule->token_file ? secret_check_token : check_password, &exposed, why);
    if (!text) {
        snprintf(rule_says, sizeof rule_says, "names a file of no use: %s", why);
        return say_place(book, rule, rule_says, error, size);
    }
    if (exposed && !book->exposed)
        book->exposed = its->path;
    /* A client's secret is read for each question, and not kept. */
    if (rule->client_secret_file)
        secret_free(text);
    else
        its->secret = login_secret_new(text);
    return true;
}

static bool check_endpoint(const struct login_book *book, size_t place, char *error, size_t size)
{
    const struct login_rule *rule = login_book_rule(book, place);
    const char *wrong =
        rule->token_endpoint_url ? login_source_check_url(rule->token_endpoint_url) : NULL;
    char what[200];

    if (!wrong)
        return true;
    snprintf(what, sizeof what, "has a token-endpoint-url that cannot be used: %s", wrong);
    return say_place(book, rule, what, error, size);
}

static void list_rule_paths(const struct login_rule *rule, const char *paths[RULE_PATHS])
{
    paths[0] = rule->certificate;
    paths[1] = rule->key;
    paths[2] = rule->key_passphrase_file;
}

static void note_if_exposed(struct login_book *book, const char *path)
{
    struct stat status;

    if (path && !book->exposed && stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
        secret_is_exposed(status.st_mode))
        book->exposed = path;
}

/* What goes to brokers with the rule's certificate is checked as everything that goes there. */
static SSL_CTX *make_context(const struct login_rule *rule, const struct login_clusters *clusters,
                             struct tls_error *error)
{
    struct tls_files files = *clusters->broker_files;
    SSL_CTX *context = NULL;

    files.cert_option = files.key_option = "kafka-login";
    files.cert_file = rule->certificate;
    files.key_file = rule->key;
    files.passphrase_file = rule->key_passphrase_file;
    files.passphrase = NULL;
    struct tls_material *material = tls_material_read(&files, NULL, error);
    if (material)
        context = tls_client_context(material, true, error);
    tls_material_free(material);
    return context;
}

static bool read_certificate(struct login_book *book, size_t place,
                             const struct login_clusters *clusters, char *error, size_t size)
{
    const struct login_rule *rule = login_book_rule(book, place);
    struct login_place *its = &book->places[place];
    const char *paths[RULE_PATHS];
    struct tls_error tls;
    char why[sizeof tls.text + 100];

    if (!rule->certificate)
        return true;
    if (!clusters->broker_files) {
        rule_file_say(&rule->head, "has a certificate, which needs --kafka-tls", why, sizeof why);
        snprintf(error, size, "%s %s", book->path, why);
        return false;
    }
    list_rule_paths(rule, paths);
    for (size_t i = 0; i < RULE_PATHS; i++)
        if (paths[i])
            file_stamp_take(paths[i], &its->tls_stamps[i]);
    its->tls = make_context(rule, clusters, &tls);
    note_if_exposed(book, rule->key);
    note_if_exposed(book, rule->key_passphrase_file);
    if (!its->tls) {
        rule_file_say(&rule->head, tls.text, why, sizeof why);
        snprintf(error, size, "%s %s", book->path, why);
    }
    return its->tls != NULL;
}

static struct login_book *new_book(const char *path)
{
    struct login_book *book = memory_new(sizeof *book);

    atomic_init(&book->references, 1);
    if (pthread_mutex_init(&book->lock, NULL) != 0)
        abort();
    book->path = path;
    return book;
}

static void note_shared_files(struct login_book *book, const struct login_clusters *clusters)
{
    if (!clusters->broker_files)
        return;
    book->shared_paths[0] = clusters->broker_files->ca_file;
    book->shared_paths[1] = clusters->broker_files->crl_file;
    for (size_t i = 0; i < SHARED_PATHS; i++)
        if (book->shared_paths[i])
            file_stamp_take(book->shared_paths[i], &book->shared_stamps[i]);
}

static bool is_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What comes from elsewhere than a file may not be there yet, and goes from one book to the next
 * (login_sources.h). */
static bool will_have_same_secret(const struct login_book *a, size_t place_of_a,
                                  const struct login_book *b, size_t place_of_b)
{
    const struct login_secret *of_a = a->places[place_of_a].secret;
    const struct login_secret *of_b = b->places[place_of_b].secret;

    if (login_rule_origin(login_book_rule(a, place_of_a)) != LOGIN_ORIGIN_FILE ||
        login_rule_origin(login_book_rule(b, place_of_b)) != LOGIN_ORIGIN_FILE)
        return login_book_has_same_secret(a, place_of_a, b, place_of_b);
    return strcmp(login_secret_text(of_a), login_secret_text(of_b)) == 0;
}

/* Whether brokers would say the same to both. */
static bool is_same_login(const struct login_book *a, size_t place_of_a, const struct login_book *b,
                          size_t place_of_b)
{
    const struct login_rule *of_a = login_book_rule(a, place_of_a);
    const struct login_rule *of_b = login_book_rule(b, place_of_b);

    return strcmp(of_a->head.name, of_b->head.name) == 0 && of_a->mechanism == of_b->mechanism &&
           of_a->delegation_token == of_b->delegation_token &&
           is_same_text(of_a->user, of_b->user) &&
           will_have_same_secret(a, place_of_a, b, place_of_b);
}

/* NULL: there is none. */
static const struct login_place *find_same_login(const struct login_book *before,
                                                 const struct login_book *book, size_t place)
{
    for (size_t i = 0; before && i < before->rules.count; i++)
        if (is_same_login(before, i, book, place))
            return &before->places[i];
    return NULL;
}

static void take_standings(struct login_book *book, const struct login_book *before, size_t place)
{
    struct login_place *its = &book->places[place];

    if (!login_book_logs_in(book, place))
        return;
    const struct login_place *same = find_same_login(before, book, place);
    its->standings = memory_new_array(book->cluster_count, sizeof(struct login_standing *));
    for (size_t i = 0; i < book->cluster_count; i++)
        its->standings[i] =
            same ? login_standing_reference(same->standings[i]) : login_standing_new();
}

struct login_book *login_book_read(const char *path, const struct login_clusters *clusters,
                                   const struct login_book *before, char *error, size_t size)
{
    struct login_book *book = new_book(path);

    note_shared_files(book, clusters);
    book->cluster_count = clusters->count;
    bool good = read_rules(book, error, size) && check_clusters(book, clusters, error, size);
    if (good)
        book->places = memory_new_array(book->rules.count, sizeof *book->places);
    for (size_t i = 0; good && i < book->rules.count; i++)
        good = check_endpoint(book, i, error, size) && read_login_secret(book, i, error, size) &&
               read_certificate(book, i, clusters, error, size);
    for (size_t i = 0; good && i < book->rules.count; i++)
        take_standings(book, before, i);
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

static bool are_others(const struct login_rule *rule, const struct login_place *its)
{
    const char *paths[RULE_PATHS];

    list_rule_paths(rule, paths);
    for (size_t i = 0; i < RULE_PATHS; i++)
        if (paths[i] && is_another(paths[i], &its->tls_stamps[i]))
            return true;
    return false;
}

bool login_book_has_changed(const struct login_book *book)
{
    if (is_another(book->path, &book->stamp))
        return true;
    bool certificates = false;
    for (size_t i = 0; i < book->rules.count; i++) {
        const struct login_place *its = &book->places[i];
        if ((its->path && is_another(its->path, &its->stamp)) ||
            (its->tls && are_others(login_book_rule(book, i), its)))
            return true;
        certificates |= its->tls != NULL;
    }
    for (size_t i = 0; certificates && i < SHARED_PATHS; i++)
        if (book->shared_paths[i] && is_another(book->shared_paths[i], &book->shared_stamps[i]))
            return true;
    return false;
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

bool login_book_logs_in(const struct login_book *book, size_t place)
{
    return login_book_rule(book, place)->mechanism != SASL_MECHANISMS;
}

struct login_standing *login_book_standing(const struct login_book *book, size_t place,
                                           size_t cluster)
{
    struct login_standing **standings = book->places[place].standings;

    return standings ? standings[cluster] : NULL;
}

SSL_CTX *login_book_tls(const struct login_book *book, size_t place)
{
    return book->places[place].tls;
}

const char *login_book_exposed(const struct login_book *book)
{
    return book->exposed;
}

bool login_book_has_same_secret(const struct login_book *a, size_t place_of_a,
                                const struct login_book *b, size_t place_of_b)
{
    const struct login_place *of_a = &a->places[place_of_a];
    const struct login_place *of_b = &b->places[place_of_b];

    return login_rule_names_same(login_book_rule(a, place_of_a), login_book_rule(b, place_of_b)) &&
           (!of_a->path || file_stamp_equal(&of_a->stamp, &of_b->stamp));
}

const struct login_rule *login_book_command(const struct login_book *book)
{
    for (size_t i = 0; i < book->rules.count; i++)
        if (login_rule_command(login_book_rule(book, i)))
            return login_book_rule(book, i);
    return NULL;
}

bool login_book_names_command(const char *path)
{
    struct login_book *book = new_book(path);
    char error[SECRET_ERROR_MAX];

    bool names = read_rules(book, error, sizeof error) && login_book_command(book);
    free_book(book);
    return names;
}

/* ---- secrets that come and go */

struct login_secret *login_book_secret(struct login_book *book, size_t place)
{
    pthread_mutex_lock(&book->lock);
    struct login_secret *secret = login_secret_reference(book->places[place].secret);
    pthread_mutex_unlock(&book->lock);
    return secret;
}

void login_book_put_secret(struct login_book *book, size_t place, struct login_secret *secret)
{
    struct login_place *its = &book->places[place];

    pthread_mutex_lock(&book->lock);
    struct login_secret *before = its->secret;
    its->secret = login_secret_reference(secret);
    pthread_mutex_unlock(&book->lock);
    login_secret_release(before);
    for (size_t i = 0; secret && its->standings && i < book->cluster_count; i++)
        login_standing_use_secret(its->standings[i], secret);
}
