#include "run/own_hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "listeners/hosts_file.h"
#include "listeners/hosts_text.h"
#include "run/name_service.h"

enum { MAP_MAX = 48 };

/* Who may be asked before the hosts file: another service, or a daemon that has read the machine's.
 */
#define NAME_SERVICE_FILE "/etc/nsswitch.conf"
#define NAME_SERVICE_CACHE "/run/nscd/socket"

struct own_hosts {
    char path[PATH_MAX];         /* "": it has none any more */
    char service_path[PATH_MAX]; /* of a nsswitch.conf; "": the machine's does, or as above */
    int fd;
    char *text; /* the copy of the machine's file; lines of ours come behind it */
    size_t size;
    size_t written; /* of the whole file */
    bool stale;     /* the text has blanks that the file has not */
    char uid_map[MAP_MAX];
    char gid_map[MAP_MAX];
};

/* ---- the file */

static bool write_at(const struct own_hosts *hosts, const char *text, size_t size, size_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(hosts->fd, text, size, (off_t)offset);
        if (written < 0 && errno != EINTR)
            return false;
        written = written < 0 ? 0 : written;
        text += written;
        size -= (size_t)written;
        offset += (size_t)written;
    }
    return true;
}

static bool is_due(const struct kept_name *name)
{
    return name->listeners > 0 && !name->literal && !name->published;
}

/* Removes what there is of a line that could not be written whole: it might be another one. */
static void drop_line(const struct own_hosts *hosts)
{
    int reason = errno;

    /* What cannot even be cut has no more than the next try will overwrite. */
    (void)!ftruncate(hosts->fd, (off_t)hosts->written);
    errno = reason;
}

/* A resolver that reads meanwhile sees the text as it was or as it is: a line comes at the end, and
 * then the name becomes blanks in the copy, each in one write. As long as there is no line, the
 * name leads where it leads on the machine. */
static bool publish_name(struct own_hosts *hosts, const struct kept_names *names,
                         struct kept_name *name)
{
    char line[HOSTS_LINE_MAX + 1];

    kept_name_line(names, name, line);
    strcat(line, "\n");
    bool done = write_at(hosts, line, strlen(line), hosts->written);
    if (done && hosts_text_blank(hosts->text, hosts->size, name->host))
        hosts->stale = true;
    done = done && (!hosts->stale || write_at(hosts, hosts->text, hosts->size, 0));
    if (!done) {
        drop_line(hosts);
        return false;
    }
    hosts->stale = false;
    hosts->written += strlen(line);
    name->published = true;
    return true;
}

bool own_hosts_publish(struct own_hosts *hosts, struct kept_names *names)
{
    list_each(at, &names->all) {
        struct kept_name *name = list_entry(at, struct kept_name, node);
        if (is_due(name) && !publish_name(hosts, names, name))
            return false;
    }
    return true;
}

static void copy_machines_file(struct own_hosts *hosts)
{
    hosts->text = hosts_file_read(HOSTS_FILE, &hosts->size);
    if (hosts->size > 0 && hosts->text[hosts->size - 1] != '\n') {
        hosts->text = memory_grow(hosts->text, hosts->size + 2);
        memcpy(hosts->text + hosts->size++, "\n", 2);
    }
    hosts->written = hosts->size;
}

/* Others may read it, as they may the machine's: the command may be of another user. -1: errno says
 * why there is none. */
static int make_temporary(char path[PATH_MAX])
{
    const char *directory = getenv("TMPDIR");

    snprintf(path, PATH_MAX, "%s/tunnel-client-hosts.XXXXXX",
             directory && directory[0] == '/' ? directory : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0 && fchmod(fd, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH) == 0)
        return fd;
    int reason = errno;
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
    path[0] = '\0';
    errno = reason;
    return -1;
}

static bool make_file(struct own_hosts *hosts)
{
    hosts->fd = make_temporary(hosts->path);
    return hosts->fd >= 0 && write_at(hosts, hosts->text, hosts->size, 0);
}

/* Where glibc asks others first, they would answer for the names. */
static bool make_service_file(struct own_hosts *hosts)
{
    size_t size, copy_size;
    char *text = hosts_file_read(NAME_SERVICE_FILE, &size);
    char *copy = name_service_files_first(text, size, &copy_size);
    bool done = true;

    free(text);
    if (copy) {
        int fd = make_temporary(hosts->service_path);
        done = fd >= 0 && write(fd, copy, copy_size) == (ssize_t)copy_size;
        int reason = errno;
        if (fd >= 0)
            close(fd);
        errno = reason;
    }
    free(copy);
    return done;
}

struct own_hosts *own_hosts_new(struct kept_names *names, char *error, size_t size)
{
    struct own_hosts *hosts = memory_new(sizeof *hosts);

    snprintf(hosts->uid_map, sizeof hosts->uid_map, "%lu %lu 1", (unsigned long)geteuid(),
             (unsigned long)geteuid());
    snprintf(hosts->gid_map, sizeof hosts->gid_map, "%lu %lu 1", (unsigned long)getegid(),
             (unsigned long)getegid());
    copy_machines_file(hosts);
    if (make_file(hosts) && make_service_file(hosts) && own_hosts_publish(hosts, names))
        return hosts;
    snprintf(error, size,
             "the command's own hosts file (--keep-names) cannot be written: %s; set TMPDIR to a "
             "directory where it can",
             strerror(errno));
    own_hosts_free(hosts);
    return NULL;
}

void own_hosts_forget_path(struct own_hosts *hosts)
{
    if (hosts->path[0])
        unlink(hosts->path);
    if (hosts->service_path[0])
        unlink(hosts->service_path);
    hosts->path[0] = hosts->service_path[0] = '\0';
}

void own_hosts_free(struct own_hosts *hosts)
{
    if (!hosts)
        return;
    own_hosts_forget_path(hosts);
    if (hosts->fd >= 0)
        close(hosts->fd);
    free(hosts->text);
    free(hosts);
}

/* ---- the namespace */

#ifdef __linux__

#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

static bool write_proc(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int reason = errno;

    if (fd >= 0)
        close(fd);
    errno = reason;
    return done;
}

/* Groups beside the user's own stay as they are, and cannot be changed: without that promise the
 * kernel allows no map. */
static bool write_maps(const struct own_hosts *hosts)
{
    if (!write_proc("/proc/self/setgroups", "deny") && errno != ENOENT)
        return false;
    return write_proc("/proc/self/uid_map", hosts->uid_map) &&
           write_proc("/proc/self/gid_map", hosts->gid_map);
}

/* The same user and group as outside. The maps of a process that must leave no core are root's, so
 * it is as others are for that long. */
static bool stay_same_user(const struct own_hosts *hosts)
{
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    bool done = write_maps(hosts);
    int reason = errno;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    errno = reason;
    return done;
}

enum own_hosts_step own_hosts_enter(const struct own_hosts *hosts)
{
    /* Whoever may needs no user namespace, and loses nothing by it. */
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return OWN_HOSTS_NAMESPACE;
        if (!stay_same_user(hosts))
            return OWN_HOSTS_USER;
    }
    /* What is mounted outside later is seen here; what is mounted here is not seen there. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0 ||
        mount(hosts->path, HOSTS_FILE, NULL, MS_BIND, NULL) != 0)
        return OWN_HOSTS_MOUNT;
    if (hosts->service_path[0] &&
        mount(hosts->service_path, NAME_SERVICE_FILE, NULL, MS_BIND, NULL) != 0)
        return OWN_HOSTS_MOUNT;
    /* glibc does without it if nobody answers there. */
    if (mount("/dev/null", NAME_SERVICE_CACHE, NULL, MS_BIND, NULL) != 0 && errno != ENOENT &&
        errno != ENOTDIR && errno != EACCES)
        return OWN_HOSTS_MOUNT;
    return OWN_HOSTS_DONE;
}

/* Whether a file of the kernel's settings begins with that digit. */
static bool is_setting(const char *path, char value)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char first = '\0';
    bool is = fd >= 0 && read(fd, &first, 1) == 1 && first == value;

    if (fd >= 0)
        close(fd);
    return is;
}

static const char *who_refuses(void)
{
    static const struct {
        const char *path;
        char value;
        const char *says;
    } settings[] = {
        {"/proc/sys/user/max_user_namespaces", '0', "user.max_user_namespaces is 0"},
        {"/proc/sys/kernel/unprivileged_userns_clone", '0',
         "kernel.unprivileged_userns_clone is 0; set it to 1"},
        {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1',
         "kernel.apparmor_restrict_unprivileged_userns is 1; set it to 0, or allow userns to "
         "tunnel-client in a profile of AppArmor"},
    };

    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (is_setting(settings[i].path, settings[i].value))
            return settings[i].says;
    return "a container engine's seccomp profile or a security module may be why";
}

void own_hosts_explain(enum own_hosts_step step, int failed, char *text, size_t size)
{
    static const char *const steps[] = {
        [OWN_HOSTS_NAMESPACE] = "no user namespace is allowed",
        [OWN_HOSTS_USER] = "the user namespace gets no user",
        [OWN_HOSTS_MOUNT] = "nothing can be mounted in the namespace",
    };

    if (step == OWN_HOSTS_MOUNT && failed == ENOENT)
        snprintf(text, size, "there is no " HOSTS_FILE " that a file could take the place of");
    else
        snprintf(
            text, size,
            "%s (%s): %s. Other ways: run as root; or start tunnel-client --keep-names without "
            "run, and add the lines that `tunnel-client hosts` prints to " HOSTS_FILE,
            steps[step], strerror(failed), who_refuses());
}

#else

enum own_hosts_step own_hosts_enter(const struct own_hosts *hosts)
{
    (void)hosts;
    errno = ENOSYS;
    return OWN_HOSTS_NAMESPACE;
}

void own_hosts_explain(enum own_hosts_step step, int failed, char *text, size_t size)
{
    (void)step;
    snprintf(text, size, "this system has no mount namespaces (%s)", strerror(failed));
}

#endif
