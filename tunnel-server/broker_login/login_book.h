/*
 * What --kafka-login says, with the secrets of the files that it names: read whole. All workers
 * share it; whoever has it last, overwrites the secrets and frees it.
 *
 * Its rules do not change any more. The secrets of rules that name a command or a token endpoint
 * are put in when they have come (login_sources.h), and others later: login_book_secret() and
 * login_book_put_secret() may be called by all threads.
 */
#pragma once

#include "broker_login/login_rules.h"
#include "broker_login/login_secret.h"
#include "broker_login/login_standing.h"
#include "config/address.h"
#include "tls/tls_files.h"

struct login_book;

/* What rules are about. */
struct login_clusters {
    const struct address_cluster *all; /* rules for none of them are mistakes */
    size_t count;
    /* As the options have them: a rule's certificate takes the place of the one in them, and
     * nothing else of them. They must live as long as the book. NULL: brokers do not speak TLS, and
     * rules can have no certificates. */
    const struct tls_files *broker_files;
};

/* Reads the file and all that it names. before: the book in force, whose standings go on where a
 * rule of the same name has the same user and secret; NULL: there is none. NULL: error holds a
 * sentence, without the option. */
struct login_book *login_book_read(const char *path, const struct login_clusters *clusters,
                                   const struct login_book *before, char *error, size_t size);
/* Whether one of the files is another one now, or may be; a stat() each. */
bool login_book_has_changed(const struct login_book *book);

struct login_book *login_book_reference(struct login_book *book);
/* NULL is fine. */
void login_book_release(struct login_book *book);

size_t login_book_count(const struct login_book *book);
/* By its place, from 0. */
const struct login_rule *login_book_rule(const struct login_book *book, size_t place);
/* The place of the rule that counts; login_book_count(): there is none. */
size_t login_book_find(const struct login_book *book, const char *identity, const char *cluster);
/* Whether the rule has a login, and not a certificate alone. */
bool login_book_logs_in(const struct login_book *book, size_t place);
/* With one reference more; NULL: the rule needs none, or it has not come. */
struct login_secret *login_book_secret(struct login_book *book, size_t place);
/* From now on; takes a reference of its own. Where it is another one, what brokers think of the one
 * before holds no more. */
void login_book_put_secret(struct login_book *book, size_t place, struct login_secret *secret);

/* Whether two places, of one book or two, have the same secret, from the same files if there are
 * any. */
bool login_book_has_same_secret(const struct login_book *a, size_t place_of_a,
                                const struct login_book *b, size_t place_of_b);
/* A rule for whose secret a command is run; NULL: there is none. */
const struct login_rule *login_book_command(const struct login_book *book);
/* The same of a file that is not in force yet; false also if the file is of no use. */
bool login_book_names_command(const char *path);

/* The book's; cluster: which it is of all. NULL: the rule has no login. */
struct login_standing *login_book_standing(const struct login_book *book, size_t place,
                                           size_t cluster);
/* To connect to brokers with the rule's certificate; NULL: it has none of its own. */
SSL_CTX *login_book_tls(const struct login_book *book, size_t place);
/* A file with a secret that every user of the machine may read or write, or the rules' own file, if
 * every user may write it; NULL: there is none. */
const char *login_book_exposed(const struct login_book *book);
