/*
 * What --kafka-login says, with the secrets of the files that it names: read whole, and not changed
 * any more. All workers share it; whoever has it last, overwrites the secrets and frees it.
 */
#pragma once

#include "broker_login/login_rules.h"
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

/* Reads the file and all that it names. NULL: error holds a sentence, without the option. */
struct login_book *login_book_read(const char *path, const struct login_clusters *clusters,
                                   char *error, size_t size);
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
/* NULL: the rule needs none. */
const char *login_book_secret(const struct login_book *book, size_t place);
/* To connect to brokers with the rule's certificate; NULL: it has none of its own. */
SSL_CTX *login_book_tls(const struct login_book *book, size_t place);
/* A file with a secret that every user of the machine may read or write, or the rules' own file, if
 * every user may write it; NULL: there is none. */
const char *login_book_exposed(const struct login_book *book);
