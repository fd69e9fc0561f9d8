#include "listeners/local_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "config/secret.h"

enum { CA_FILE_MAX = 64 * 1024, HOST_MAX = 256, PRIVATE_DIRECTORY = 0700 };

static const char PROGRAM_DIRECTORY[] = "kafka-tunnel";
static const char KEY_FILE[] = "listener-ca-key.pem";
static const char CERTIFICATE_FILE[] = "listener-ca.pem";

#define WHAT_TO_DO                                                                                 \
    "restore it from a backup, or remove %s and %s: then a new CA is made, which clients must be " \
    "told to trust"

/* ---- where */

static bool fail_ca(char *error, size_t size, const char *path, const char *why)
{
    snprintf(error, size, "the local CA for --listener-tls: %s: %s", path, why);
    return false;
}

static bool is_path(const char *text)
{
    return text && text[0] == '/';
}

/* The first of the directories that systemd may name. */
static bool take_service_directory(char out[PATH_MAX])
{
    const char *all = getenv("STATE_DIRECTORY");
    size_t size = all ? strcspn(all, ":") : 0;

    if (!is_path(all) || size >= PATH_MAX)
        return false;
    memcpy(out, all, size);
    out[size] = '\0';
    return true;
}

/* The XDG Base Directory Specification: what is not absolute counts as not set. */
static bool find_directory(char out[PATH_MAX])
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (take_service_directory(out))
        return true;
    if (is_path(state))
        return snprintf(out, PATH_MAX, "%s/%s", state, PROGRAM_DIRECTORY) < PATH_MAX;
    return is_path(home) && strcmp(home, "/") != 0 &&
           snprintf(out, PATH_MAX, "%s/.local/state/%s", home, PROGRAM_DIRECTORY) < PATH_MAX;
}

/* As mkdir -p. What has to be made is for nobody else. */
static bool make_directories(const char *path)
{
    char part[PATH_MAX];

    for (const char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        memcpy(part, path, (size_t)(at - path));
        part[at - path] = '\0';
        if (mkdir(part, PRIVATE_DIRECTORY) != 0 && errno != EEXIST && errno != EROFS &&
            errno != EACCES && errno != EPERM)
            return false;
        if (*at == '\0')
            break;
    }
    struct stat found;
    if (stat(path, &found) != 0)
        return false;
    errno = ENOTDIR;
    return S_ISDIR(found.st_mode);
}

/* Whoever owns the directory, or may write to it, can put other files there: a CA of their own,
 * which clients would be told to trust. Root may anyway; a sticky directory keeps others off our
 * files. */
static bool check_directory(const char *path, char *error, size_t size)
{
    struct stat found;
    char why[300];

    if (stat(path, &found) != 0)
        return fail_ca(error, size, path, strerror(errno));
    if (found.st_uid != geteuid() && found.st_uid != 0) {
        snprintf(why, sizeof why,
                 "belongs to another user (uid %lu), who could replace the files in it; give "
                 "another --state-dir",
                 (unsigned long)found.st_uid);
        return fail_ca(error, size, path, why);
    }
    if ((found.st_mode & S_IWOTH) != 0 && (found.st_mode & S_ISVTX) == 0)
        return fail_ca(error, size, path,
                       "every user may replace the files in it: give --state-dir a directory in "
                       "it, which is made for nobody else, or take the right to write away "
                       "(chmod o-w)");
    return true;
}

static bool name_files(struct local_ca *ca, const char *directory, char found[PATH_MAX],
                       char *error, size_t size)
{
    if (directory) {
        if (snprintf(found, PATH_MAX, "%s", directory) >= PATH_MAX)
            return fail_ca(error, size, directory, strerror(ENAMETOOLONG));
    } else if (!find_directory(found)) {
        snprintf(error, size,
                 "the local CA for --listener-tls needs a directory to be kept in: give "
                 "--state-dir, or set XDG_STATE_HOME or HOME");
        return false;
    }
    if (snprintf(ca->key_file, sizeof ca->key_file, "%s/%s", found, KEY_FILE) >=
            (int)sizeof ca->key_file ||
        snprintf(ca->file, sizeof ca->file, "%s/%s", found, CERTIFICATE_FILE) >=
            (int)sizeof ca->file)
        return fail_ca(error, size, found, strerror(ENAMETOOLONG));
    return true;
}

/* ---- reading */

static bool check_owner(const struct local_ca *ca, const struct stat *found, char *error,
                        size_t size)
{
    char why[300];

    if (!S_ISREG(found->st_mode))
        return fail_ca(error, size, ca->key_file, "is not a regular file");
    if (found->st_uid != geteuid()) {
        snprintf(why, sizeof why,
                 "belongs to another user (uid %lu), who could pose as any server that clients "
                 "trust it for; give another --state-dir",
                 (unsigned long)found->st_uid);
        return fail_ca(error, size, ca->key_file, why);
    }
    if ((found->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return fail_ca(error, size, ca->key_file,
                       "others may read or write it, so the key may be known: if it is not, make "
                       "it private again (chmod 600); if it may be, remove it and listener-ca.pem, "
                       "and tell clients to trust the new CA instead");
    return true;
}

static bool take_ca(struct local_ca *ca, const char *bytes, size_t fill, char *error, size_t size)
{
    const char *why =
        fill == CA_FILE_MAX ? "is too large" : tls_authority_read(&ca->authority, bytes, fill);

    if (!why)
        return true;
    snprintf(error, size, "the local CA for --listener-tls is damaged: %s %s: " WHAT_TO_DO,
             ca->key_file, why, KEY_FILE, CERTIFICATE_FILE);
    return false;
}

/* From the open key file. */
static bool read_ca(struct local_ca *ca, int fd, char *error, size_t size)
{
    struct stat found;
    bool done = false;

    if (fstat(fd, &found) != 0)
        return fail_ca(error, size, ca->key_file, strerror(errno));
    if (!check_owner(ca, &found, error, size))
        return false;
    char *bytes = memory_raw(CA_FILE_MAX);
    ssize_t got = secret_read_descriptor(fd, bytes, CA_FILE_MAX);
    if (got < 0)
        fail_ca(error, size, ca->key_file, strerror(errno));
    else
        done = take_ca(ca, bytes, (size_t)got, error, size);
    byte_wipe(bytes, CA_FILE_MAX);
    free(bytes);
    return done;
}

/* ---- writing */

static bool write_whole(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, bytes, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        bytes += put;
        size -= (size_t)put;
    }
    return fsync(fd) == 0;
}

/* A file beside path, with the text; its name is in beside. false: errno, and there is none. */
static bool write_beside(const char *path, const char *text, mode_t mode, char *beside)
{
    static const char suffix[] = ".XXXXXX";
    size_t length = strlen(path);

    if (length + sizeof suffix > PATH_MAX) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(beside, path, length);
    memcpy(beside + length, suffix, sizeof suffix);
    int fd = mkstemp(beside);
    if (fd < 0)
        return false;
    bool done = fchmod(fd, mode) == 0 && write_whole(fd, text, strlen(text));
    int reason = errno;
    close(fd);
    if (!done)
        unlink(beside);
    errno = reason;
    return done;
}

/* Puts the file where there is none: of two programs that begin at once, one's remains. *ours: this
 * one's. */
static bool put_in_place(const char *beside, const char *path, bool *ours)
{
    bool done = link(beside, path) == 0;
    int reason = errno;

    /* A file system without hard links. */
    if (!done && reason != EEXIST && access(path, F_OK) != 0) {
        done = rename(beside, path) == 0;
        reason = errno;
    }
    unlink(beside);
    *ours = done;
    errno = reason;
    return done || reason == EEXIST;
}

static bool make_ca(struct local_ca *ca, const struct tls_authority_names *names, time_t now,
                    char *error, size_t size)
{
    char beside[PATH_MAX];
    char host[HOST_MAX] = "";

    /* Whoever has removed one of the files only may have meant something else; unless another
     * program has just made both. */
    if (access(ca->file, F_OK) == 0) {
        if (access(ca->key_file, F_OK) == 0)
            return true;
        snprintf(error, size,
                 "the local CA for --listener-tls has lost its key: %s is there, but %s is not: "
                 "restore that from a backup, or remove %s too: then a new CA is made, which "
                 "clients must be told to trust",
                 ca->file, ca->key_file, CERTIFICATE_FILE);
        return false;
    }
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "this machine");
    tls_authority_make(&ca->authority, host, names, now);
    char *text = tls_authority_write(&ca->authority);
    bool done = write_beside(ca->key_file, text, S_IRUSR | S_IWUSR, beside) &&
                put_in_place(beside, ca->key_file, &ca->made);
    secret_free(text);
    tls_authority_clear(&ca->authority);
    return done || fail_ca(error, size, ca->key_file, strerror(errno));
}

/* Whether that text is in the file, and nobody else may change it. What is no regular file is not
 * waited for. */
static bool holds_text(const char *path, const char *text)
{
    size_t length = strlen(text);
    char *there = memory_new(length + 2);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat found;
    bool same = fd >= 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode) &&
                found.st_uid == geteuid() && (found.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
                secret_read_descriptor(fd, there, length + 1) == (ssize_t)length &&
                strcmp(there, text) == 0;

    if (fd >= 0)
        close(fd);
    free(there);
    return same;
}

static bool replace_file(const char *path, const char *text)
{
    char beside[PATH_MAX];

    if (!write_beside(path, text, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, beside))
        return false;
    if (rename(beside, path) == 0)
        return true;
    int reason = errno;
    unlink(beside);
    errno = reason;
    return false;
}

/* The copy for clients, which may have been lost. */
static bool publish(const struct local_ca *ca, char *error, size_t size)
{
    char *text = tls_authority_write_certificate(&ca->authority);
    bool done = holds_text(ca->file, text) || replace_file(ca->file, text);
    int reason = errno;

    free(text);
    return done || fail_ca(error, size, ca->file, strerror(reason));
}

/* ---- all of it */

static bool check_use(const struct local_ca *ca, const struct tls_authority_names *names,
                      time_t now, char *error, size_t size)
{
    const char *lacking = tls_authority_lacks(&ca->authority, names);
    struct tls_certificate_text text;
    char may[300];

    if (tls_has_expired(ca->authority.certificate, now)) {
        tls_certificate_describe(ca->authority.certificate, &text);
        snprintf(error, size,
                 "the local CA for --listener-tls in %s expired on %s: remove %s and %s: then a "
                 "new CA is made, which clients must be told to trust",
                 ca->key_file, text.until, KEY_FILE, CERTIFICATE_FILE);
        return false;
    }
    if (!lacking)
        return true;
    tls_authority_describe(&ca->authority, may, sizeof may);
    snprintf(error, size,
             "the local CA in %s was made for %s, not for %s (--advertise, --listener-name, an "
             "address that is listened on): give another --state-dir, or remove %s and %s: then a "
             "new CA is made, which clients must be told to trust",
             ca->key_file, may, lacking, KEY_FILE, CERTIFICATE_FILE);
    return false;
}

static bool load_or_make(struct local_ca *ca, const struct tls_authority_names *names, time_t now,
                         char *error, size_t size)
{
    int fd = open(ca->key_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT) {
        if (!make_ca(ca, names, now, error, size))
            return false;
        fd = open(ca->key_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    }
    if (fd < 0)
        return fail_ca(error, size, ca->key_file,
                       errno == ELOOP    ? "is a symbolic link: give the real place by --state-dir"
                       : errno == EACCES ? "it may not be read: it belongs to another user; give "
                                           "another --state-dir"
                                         : strerror(errno));
    bool done = read_ca(ca, fd, error, size);
    close(fd);
    return done;
}

bool local_ca_is_there(const char *directory, char file[PATH_MAX])
{
    struct local_ca ca = {0};
    char found[PATH_MAX];
    char error[2 * PATH_MAX];

    bool named = name_files(&ca, directory, found, error, sizeof error);
    snprintf(file, PATH_MAX, "%s", ca.file);
    return !named || faccessat(AT_FDCWD, ca.key_file, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
           access(ca.file, F_OK) == 0;
}

bool local_ca_open(struct local_ca *ca, const char *directory,
                   const struct tls_authority_names *names, time_t now, char *error, size_t size)
{
    char found[PATH_MAX];

    *ca = (struct local_ca){0};
    if (!name_files(ca, directory, found, error, size))
        return false;
    if (!make_directories(found))
        return fail_ca(error, size, found, strerror(errno));
    if (!check_directory(found, error, size))
        return false;
    if (!load_or_make(ca, names, now, error, size))
        return false;
    if (publish(ca, error, size) && check_use(ca, names, now, error, size))
        return true;
    tls_authority_clear(&ca->authority);
    return false;
}
