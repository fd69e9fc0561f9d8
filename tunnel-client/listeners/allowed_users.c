#include "listeners/allowed_users.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/socket_owner.h"

enum { USER_MAX = 100, LINE_MAX_SIZE = 1024 };

/* What the kernel shows for a user that this namespace does not know. */
enum { OVERFLOW_UID = 65534 };

struct allowed_users {
    struct socket_owners *owners;
    uid_t *uids;
    size_t count;
};

/* ---- names */

static bool fail_user(char *error, size_t size, const char *name, const char *why)
{
    snprintf(error, size, "--allow-users %s: %s", name, why);
    return false;
}

/* A number that is no user's name. */
static bool read_number(const char *text, uid_t *uid)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || number >= UINT32_MAX)
        return false;
    *uid = (uid_t)number;
    return true;
}

static bool read_user(const char *name, uid_t *uid, char *error, size_t size)
{
    if (strcmp(name, "me") == 0) {
        *uid = geteuid();
        return true;
    }
    const struct passwd *found = getpwnam(name);
    if (found)
        *uid = found->pw_uid;
    else if (!read_number(name, uid))
        return fail_user(error, size, name, "this machine has no user of that name");
    return *uid != OVERFLOW_UID ||
           fail_user(error, size, name,
                     "this user also stands for all whom a namespace does not know, and cannot be "
                     "told from them");
}

/*
 * For the log, while the loop waits: only the file is asked, for a directory service may take long,
 * and who is refused decides how often.
 */
static void name_user(uid_t uid, char name[USER_MAX])
{
    char line[LINE_MAX_SIZE];
    FILE *file = fopen("/etc/passwd", "re");

    snprintf(name, USER_MAX, "%lu", (unsigned long)uid);
    while (file && fgets(line, sizeof line, file)) {
        char *rest = line;
        const char *user = strsep(&rest, ":");
        strsep(&rest, ":");
        const char *number = strsep(&rest, ":");
        uid_t found;
        if (number && *user && read_number(number, &found) && found == uid) {
            snprintf(name, USER_MAX, "%s", user);
            break;
        }
    }
    if (file)
        fclose(file);
}

/* ---- who comes */

static bool is_allowed_user(const struct allowed_users *users, uid_t uid)
{
    for (size_t i = 0; i < users->count; i++)
        if (users->uids[i] == uid)
            return true;
    return false;
}

static void say_user_refused(struct log *log, const char *label, const char *peer, const char *user,
                             const char *reason)
{
    log_warning(log, "user_refused", "A local connection was reset because of --allow-users",
                log_str("listener", label), log_str("peer", peer), log_str("user", user),
                log_str("reason", reason));
}

bool allowed_users_admit(const struct allowed_users *users, int fd, struct log *log,
                         const char *label, const char *peer)
{
    char name[USER_MAX];
    uid_t uid;

    if (!users)
        return true;
    switch (socket_owners_find(users->owners, fd, &uid)) {
    case SOCKET_OWNER_FOUND:
        if (is_allowed_user(users, uid))
            return true;
        name_user(uid, name);
        say_user_refused(log, label, peer, name, "this user is not one of those");
        return false;
    case SOCKET_OWNER_ELSEWHERE:
        say_user_refused(log, label, peer, "?",
                         "it comes from another machine, container or network namespace, so its "
                         "user is not known here");
        return false;
    case SOCKET_OWNER_GONE:
        say_user_refused(log, label, peer, "?",
                         "the program closed it before it was known whose it is");
        return false;
    default:
        say_user_refused(log, label, peer, "?", "the system does not tell whose it is");
        return false;
    }
}

/* ---- life */

static bool read_users(struct allowed_users *users, const struct config_list *list, char *error,
                       size_t size)
{
    users->uids = memory_new_array(list->count + 1, sizeof *users->uids);
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], "any") == 0)
            return fail_user(error, size, "any", "with others, they would have no effect");
        if (!read_user(list->items[i], &users->uids[users->count++], error, size))
            return false;
    }
    return true;
}

bool allowed_users_new(const struct config_list *list, struct allowed_users **out, char *error,
                       size_t size)
{
    char why[300];

    *out = NULL;
    if (list->count == 0 || (list->count == 1 && strcmp(list->items[0], "any") == 0))
        return true;
    struct allowed_users *users = memory_new(sizeof *users);
    if (!read_users(users, list, error, size)) {
        allowed_users_free(users);
        return false;
    }
    users->owners = socket_owners_new(why, sizeof why);
    if (!users->owners) {
        allowed_users_free(users);
        return fail_user(error, size, list->items[0], why);
    }
    *out = users;
    return true;
}

void allowed_users_free(struct allowed_users *users)
{
    if (!users)
        return;
    socket_owners_free(users->owners);
    free(users->uids);
    free(users);
}
