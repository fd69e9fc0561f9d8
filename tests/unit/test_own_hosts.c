/* The hosts file of a command, where it cannot be written any further. */
#include "../lib/cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tunnel-client/listeners/hosts_file.h"
#include "../../tunnel-client/listeners/hosts_text.h"
#include "../../tunnel-client/run/own_hosts.h"

static char directory[] = "/tmp/kafka-tunnel-test-XXXXXX";
static struct kept_names names;
static char *machines;
static size_t machines_size;

static int set_up(void **state)
{
    struct name_network network;

    (void)state;
    assert_null(name_network_parse("127.77.0.0/16", &network));
    kept_names_init(&names, &network);
    machines = hosts_file_read(HOSTS_FILE, &machines_size);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kept_names_clear(&names);
    free(machines);
    return 0;
}

static void limit_files(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size < limit.rlim_max ? size : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static struct kept_name *serve(const char *host)
{
    struct kept_name *name = kept_names_tell(&names, host);

    name->listeners = 1;
    name->literal = false;
    return name;
}

/* What the command reads. NULL: there is no file. */
static char *read_own(size_t *size)
{
    DIR *listed = opendir(directory);
    char *text = NULL;

    assert_non_null(listed);
    for (const struct dirent *entry; (entry = readdir(listed));) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        char *found = strncmp(entry->d_name, "tunnel-client-hosts.", 20) == 0
                          ? hosts_file_read(path, size)
                          : NULL;
        /* The other one may be the copy of nsswitch.conf. */
        if (!found || (text && !strstr(found, "127."))) {
            free(found);
            continue;
        }
        free(text);
        text = found;
    }
    closedir(listed);
    return text;
}

/* Where a program that reads the file finds the name first; "": nowhere. */
static void look_up(const char *text, size_t size, const char *host, char address[64])
{
    struct hosts_walk walk = {.at = text, .end = text + size};
    struct hosts_pair pair;

    address[0] = '\0';
    while (!address[0] && hosts_text_next(&walk, &pair))
        if (hosts_text_is(&pair, host))
            snprintf(address, 64, "%.*s", (int)pair.address_size, pair.address);
}

/* A name of the machine's file. false: it has none. */
static bool find_machines_name(char host[ADDRESS_HOST_MAX + 1], char address[64])
{
    struct hosts_walk walk = {.at = machines, .end = machines + machines_size};
    struct hosts_pair pair;

    if (!hosts_text_next(&walk, &pair) || pair.name_size > ADDRESS_HOST_MAX)
        return false;
    snprintf(host, ADDRESS_HOST_MAX + 1, "%.*s", (int)pair.name_size, pair.name);
    snprintf(address, 64, "%.*s", (int)pair.address_size, pair.address);
    return true;
}

static void a_command_does_not_start_without_its_names(void **state)
{
    (void)state;
    char error[300] = "";
    size_t size;

    serve("b1.example.com");
    limit_files(machines_size + 10);
    const struct own_hosts *hosts = own_hosts_new(&names, error, sizeof error);
    limit_files(RLIM_INFINITY);
    assert_null(hosts);
    assert_non_null(strstr(error, "cannot be written"));
    assert_null(read_own(&size));
}

static void expect_file(const char *first, const char *host, const char *address)
{
    size_t size;
    char found[64];
    char *text = read_own(&size);

    assert_non_null(text);
    assert_true(size > 0 && text[size - 1] == '\n');
    look_up(text, size, first, found);
    assert_true(found[0]);
    look_up(text, size, host, found);
    assert_string_equal(found, address);
    free(text);
}

static void what_cannot_be_written_stays_as_it_was(void **state)
{
    (void)state;
    char host[ADDRESS_HOST_MAX + 1], address[64], kept[NAME_ADDRESS_MAX];
    char error[300];
    size_t size;

    serve("b1.example.com");
    struct own_hosts *hosts = own_hosts_new(&names, error, sizeof error);
    if (!hosts)
        fail_msg("%s", error);
    char *before = read_own(&size);
    bool is_on_machine = find_machines_name(host, address);
    if (!is_on_machine)
        snprintf(host, sizeof host, "b2.example.com");
    struct kept_name *name = serve(host);
    /* Not even a whole line. */
    limit_files(size + 5);
    for (unsigned i = 0; i < 2; i++) {
        assert_false(own_hosts_publish(hosts, &names));
        assert_int_equal(errno, EFBIG);
        assert_false(name->published);
        expect_file("b1.example.com", host, is_on_machine ? address : "");
    }
    limit_files(RLIM_INFINITY);
    char *after = read_own(&size);
    assert_string_equal(before, after);
    assert_true(own_hosts_publish(hosts, &names));
    assert_true(name->published);
    kept_name_address(&names, name, kept);
    expect_file("b1.example.com", host, kept);
    own_hosts_free(hosts);
    assert_null(read_own(&size));
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_command_does_not_start_without_its_names, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_stays_as_it_was, set_up, tear_down),
    };

    signal(SIGXFSZ, SIG_IGN);
    if (!mkdtemp(directory) || setenv("TMPDIR", directory, 1) != 0)
        return 1;
    int failed = cmocka_run_group_tests_name("own_hosts", tests, NULL, NULL);
    return rmdir(directory) == 0 ? failed : 1;
}
