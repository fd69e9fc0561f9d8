/* The status pages over loopback: who gets what, who gets nothing, floods, slow readers. */
#include "net_support.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "monitoring/pages.h"
#include "monitoring/telemetry.h"

enum { CROWD = 100, ANSWER_MAX = 6 << 20, BIG = (4 << 20) - 8 };

static struct pages *pages;
static struct socket_address address;
static unsigned posts;
static size_t big;
static char *answer; /* the last one; with a NUL */
static size_t answer_size;

/* ---- a program with pages */

static void on_collect(void *context)
{
    assert_ptr_equal(context, &posts);
}

static bool on_page(void *context, const struct pages_request *request, struct pages_answer *page)
{
    static const char file[] = "<!DOCTYPE html>";

    assert_ptr_equal(context, &posts);
    if (strcmp(request->path, "/do") == 0) {
        posts += request->post;
        pages_say(page, request->post ? 200 : 405, request->post ? "done\n" : "Use POST.\n");
        page->allow = request->post ? NULL : "POST";
        return true;
    }
    if (request->post)
        return false;
    if (strcmp(request->path, "/") == 0) {
        page->type = "text/html";
        page->bytes = file;
        page->size = sizeof file - 1;
    } else if (strcmp(request->path, "/big") == 0) {
        for (size_t i = 0; i < big / 8; i++)
            text_format(&page->body, "%7zu\n", i);
    } else if (strcmp(request->path, "/readyz") == 0) {
        pages_say(page, 503, "not yet\n");
    } else {
        return false;
    }
    return true;
}

static const struct pages_owner owner = {.collect = on_collect, .page = on_page};

static int set_up_pages(const char *at)
{
    char error[200];

    assert_true(pages_parse(at, &address, error, sizeof error));
    pages = pages_new(&net.near, &address, &owner, &posts, error, sizeof error);
    const char *listens = pages ? strstr(net.lines, "listen=") : NULL;
    const char *colon = listens ? strchr(listens, '\n') : NULL;
    while (colon && *colon != ':')
        colon--;
    assert_non_null(colon);
    return (int)strtol(colon + 1, NULL, 10);
}

static int set_up(void **state)
{
    const struct telemetry_names names = {0};
    int result = net_set_up(state);

    telemetry_start(&net.near, METRIC_SERVER, &names);
    posts = 0;
    answer = malloc(ANSWER_MAX + 1);
    assert_true(answer &&
                socket_parse("127.0.0.1", (uint16_t)set_up_pages("127.0.0.1:0"), &address));
    return result;
}

static int tear_down(void **state)
{
    pages_free(pages);
    free(answer);
    return net_tear_down(state);
}

#define PAGES_TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

/* ---- somebody who asks */

static int receive_buffer; /* 0: as the system has it */

static int arrive(void)
{
    int fd = socket_new(address.storage.ss_family);

    assert_true(fd >= 0);
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (connect(fd, (struct sockaddr *)&address.storage, address.size) != 0)
        assert_int_equal(errno, EINPROGRESS);
    NET_UNTIL(net_is_writable(fd));
    return fd;
}

static void say(int fd, const char *text, size_t size)
{
    for (uint64_t limit = net_patience(); size > 0; net_turn()) {
        net_check_patience(limit, "sending", __FILE__, __LINE__);
        ssize_t put = send(fd, text, size, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN)
            return; /* it has its answer */
        text += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
    }
}

/* At most so much; false: the end has come. */
static bool hear(int fd, size_t most)
{
    size_t room = ANSWER_MAX - answer_size;
    ssize_t got = recv(fd, answer + answer_size, room < most ? room : most, 0);

    answer_size += got > 0 ? (size_t)got : 0;
    answer[answer_size] = '\0';
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void hear_all(int fd)
{
    answer_size = 0;
    for (uint64_t limit = net_patience(); hear(fd, ANSWER_MAX); net_turn())
        net_check_patience(limit, "an answer", __FILE__, __LINE__);
    close(fd);
}

/* PORT stands for the pages' port. */
static int ask(const char *text)
{
    char request[40000];
    size_t fill = 0;

    for (const char *at = text; *at; at++) {
        assert_true(fill + 8 < sizeof request);
        if (strncmp(at, "PORT", 4) == 0) {
            fill += (size_t)sprintf(request + fill, "%u", (unsigned)socket_port(&address));
            at += 3;
        } else {
            request[fill++] = *at;
        }
    }
    int fd = arrive();
    say(fd, request, fill);
    hear_all(fd);
    return answer_size > 12 && strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

#define HOST " HTTP/1.1\r\nHost: localhost:PORT\r\n"

static const char *body_of(void)
{
    const char *body = strstr(answer, "\r\n\r\n");

    assert_non_null(body);
    return body + 4;
}

/* ---- who gets what */

static void whatever_is_asked_for(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *allow;
        const char *body;
    } cases[] = {
        {"GET /healthz" HOST "\r\n", 200, NULL, "ok\n"},
        {"GET /healthz?a=b&c" HOST "\r\n", 200, NULL, "ok\n"},
        {"HEAD /healthz" HOST "\r\n", 200, NULL, ""},
        {"GET /healthz/" HOST "\r\n", 404, NULL, "There is no such page.\n"},
        {"GET /readyz" HOST "\r\n", 503, NULL, "not yet\n"},
        {"GET /" HOST "\r\n", 200, NULL, "<!DOCTYPE html>"},
        {"GET /nothing" HOST "\r\n", 404, NULL, "There is no such page.\n"},
        {"POST /nothing" HOST "\r\n", 404, NULL, "There is no such page.\n"},
        {"HEAD /nothing" HOST "\r\n", 404, NULL, ""},
        {"POST /healthz" HOST "\r\n", 405, "GET, HEAD", "Use GET.\n"},
        {"PUT /metrics" HOST "\r\n", 405, "GET, HEAD", "Use GET.\n"},
        {"TRACE /" HOST "\r\n", 405, "GET, HEAD", "Use GET.\n"},
        {"OPTIONS /" HOST "\r\n", 405, "GET, HEAD", "Use GET.\n"},
        {"GET /do" HOST "\r\n", 405, "POST", "Use POST.\n"},
        {"PATCH /do" HOST "\r\n", 405, "POST", "Use POST.\n"},
        {"POST /do" HOST "\r\n", 200, NULL, "done\n"},
        {"POST /do" HOST "Content-Length: 1024\r\n\r\n", 200, NULL, "done\n"},
        {"POST /do" HOST "Content-Length: 1025\r\n\r\n", 413, NULL, "the body is too large\n"},
        {"POST /do" HOST "Transfer-Encoding: chunked\r\n\r\n", 413, NULL,
         "the body is too large\n"},
        {"POST /do" HOST "Expect: much\r\n\r\n", 417, NULL, "expectations are not supported\n"},
        {"BREW /do" HOST "\r\n", 501, NULL, "There is no such method.\n"},
        {"post /do" HOST "\r\n", 501, NULL, "There is no such method.\n"},
        {"GET http://localhost:PORT/healthz" HOST "\r\n", 400, NULL, NULL},
        {"CONNECT localhost:PORT" HOST "\r\n", 400, NULL, NULL},
        {"GET / HTTP/2.0\r\n", 505, NULL, NULL},
        {"\x16\x03\x01", 400, NULL,
         "this port speaks plain HTTP: the URL must begin with "
         "http://\n"},
        {"\r\n", 400, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char allow[40];
        int status = ask(cases[i].text);
        if (status != cases[i].status)
            fail_msg("%s: %d", cases[i].text, status);
        if (cases[i].body)
            assert_string_equal(body_of(), cases[i].body);
        assert_non_null(strstr(answer, "\r\nConnection: close\r\n"));
        snprintf(allow, sizeof allow, "\r\nAllow: %s\r\n", cases[i].allow ? cases[i].allow : "");
        assert_int_equal(strstr(answer, "\r\nAllow: ") != NULL, cases[i].allow != NULL);
        assert_true(!cases[i].allow || strstr(answer, allow));
    }
    assert_int_equal(posts, 2);
    /* Nothing of it is for the log, or counts as a connection to --listen. */
    assert_null(strchr(strchr(net.lines, '\n') + 1, '\n'));
    for (int end = 0; end < 9; end++)
        assert_int_equal(*metrics_at(net.near.metrics, METRIC_HANDSHAKES_ENDED, end, 0), 0);
}

static void every_answer_keeps_browsers_back(void **state)
{
    static const char *const headers[] = {
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: DENY",
        "Referrer-Policy: no-referrer",
        "Cross-Origin-Resource-Policy: same-origin",
        "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
        "'none'",
        "Cache-Control: no-store",
    };
    static const char *const texts[] = {"GET /" HOST "\r\n", "GET /nothing" HOST "\r\n",
                                        "PUT /" HOST "\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                        "GET /metrics" HOST "\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ask(texts[i]);
        for (size_t j = 0; j < sizeof headers / sizeof *headers; j++) {
            char line[400];
            snprintf(line, sizeof line, "\r\n%s\r\n", headers[j]);
            assert_non_null(strstr(answer, line));
        }
        assert_null(strstr(answer, "Access-Control-"));
    }
    assert_non_null(
        strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(body_of(), "\n# TYPE kafka_tunnel_"));
}

static void other_origins(void **state)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"Host: localhost:PORT\r\n", 200},
        {"Host: LOCALHOST:PORT\r\n", 200},
        {"Host: 127.0.0.2:PORT\r\n", 200},
        {"Host: [::1]:PORT\r\n", 200},
        {"Host: evil.example:PORT\r\n", 403},
        {"Host: localhost.evil.example:PORT\r\n", 403},
        {"Host: 192.0.2.1:PORT\r\n", 403},
        {"Host: localhost\r\n", 403},
        {"Host: [::1]\r\n", 403},
        {"Host: localhost:1\r\n", 403},
        {"Host: localhost:PORT:1\r\n", 403},
        {"Host: localhost:\r\n", 403},
        {"Host: :PORT\r\n", 403},
        {"Host: \r\n", 403},
        {"Host: localhost:PORT\r\nHost: localhost:PORT\r\n", 400},
        {"Host: localhost:PORT\r\nOrigin: http://localhost:PORT\r\n", 200},
        {"Host: localhost:PORT\r\nOrigin: https://localhost:PORT\r\n", 403},
        {"Host: localhost:PORT\r\nOrigin: http://127.0.0.1:PORT\r\n", 403},
        {"Host: localhost:PORT\r\nOrigin: null\r\n", 403},
        {"Host: localhost:PORT\r\nOrigin: \r\n", 403},
        {"Host: localhost:PORT\r\nOrigin: http://localhost:PORT\r\nOrigin: null\r\n", 403},
        {"Host: localhost:PORT\r\nSec-Fetch-Site: same-origin\r\n", 200},
        {"Host: localhost:PORT\r\nSec-Fetch-Site: none\r\n", 200},
        {"Host: localhost:PORT\r\nSec-Fetch-Site: same-site\r\n", 403},
        {"Host: localhost:PORT\r\nSec-Fetch-Site: cross-site\r\n", 403},
        {"Host: localhost:PORT\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: x\r\n", 403},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        snprintf(text, sizeof text, "POST /do HTTP/1.1\r\n%s\r\n", cases[i].text);
        unsigned before = posts;
        int status = ask(text);
        if (status != cases[i].status)
            fail_msg("%s: %d", cases[i].text, status);
        assert_int_equal(posts - before, status == 200);
    }
    assert_int_equal(ask("GET /healthz HTTP/1.0\r\n\r\n"), 403);
}

/* ---- bounds */

static void heads_that_are_too_large(void **state)
{
    static char text[30000];

    (void)state;
    for (size_t size = 1000; size < sizeof text; size += 7000) {
        int fill = snprintf(text, sizeof text, "GET /healthz" HOST "X: ");
        memset(text + fill, 'x', size);
        snprintf(text + size, sizeof text - size, "\r\n\r\n");
        assert_int_equal(ask(text), size < 16 * 1024 ? 200 : 431);
    }
}

/* Larger than all buffers on the way; and one that is too large. */
static void large_pages(void **state)
{
    (void)state;
    for (big = 8; big < PAGES_BODY_MAX; big = big * 7 + 8) {
        assert_int_equal(ask("GET /big" HOST "\r\n"), 200);
        assert_int_equal(strlen(body_of()), big / 8 * 8);
        for (size_t i = 0; i < big / 8; i++)
            assert_int_equal((size_t)strtoul(body_of() + 8 * i, NULL, 10), i);
        assert_int_equal(ask("HEAD /big" HOST "\r\n"), 200);
        assert_string_equal(body_of(), "");
        char length[60];
        snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", big / 8 * 8);
        assert_non_null(strstr(answer, length));
    }
    big = PAGES_BODY_MAX + 8;
    assert_int_equal(ask("GET /big" HOST "\r\n"), 500);
    assert_string_equal(body_of(), "The page is too large.\n");
}

static int arrive_with(const char *text)
{
    char request[200];

    receive_buffer = 4096;
    int fd = arrive();
    receive_buffer = 0;

    snprintf(request, sizeof request, text, (unsigned)socket_port(&address));
    say(fd, request, strlen(request));
    return fd;
}

#define SLOW "GET /big HTTP/1.1\r\nHost: localhost:%u\r\n\r\n"

static bool is_closed(int fd)
{
    char bytes[4096];
    ssize_t got;

    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0)
        continue;
    return got == 0 || errno != EAGAIN;
}

/* Some say nothing, some stop in the middle, some do not read: who asks properly is answered. */
static void a_crowd(void **state)
{
    static const char *const texts[] = {"", "GET /hea", SLOW};
    int fds[CROWD];
    size_t open = 0;

    (void)state;
    big = BIG;
    for (size_t i = 0; i < CROWD; i++) {
        fds[i] = arrive_with(texts[i % 3]);
        net_turns(3);
        if (i % 10 == 9)
            assert_int_equal(ask("GET /healthz" HOST "\r\n"), 200);
    }
    for (size_t i = 0; i < CROWD; i++) {
        /* Who reads its page is through then; the others are in the middle. */
        open += i % 3 != 2 && !is_closed(fds[i]);
        close(fds[i]);
    }
    assert_in_range(open, 10, PAGES_CONNECTIONS);
    net_turns(10);
    assert_int_equal(ask("GET /healthz" HOST "\r\n"), 200);
}

/* Ten seconds from accept on, whatever is sent or read meanwhile. */
static void ten_seconds(void **state)
{
    static const char *const texts[] = {"", "GET /hea", SLOW};

    (void)state;
    NET_NEEDS_JUMPS();
    big = BIG;
    for (size_t i = 0; i < 3; i++) {
        int fd = arrive_with(texts[i]);
        answer_size = 0;
        for (unsigned second = 0; second < 9; second++) {
            net_turns(20);
            net_jump_ms(1000);
            if (i == 1)
                say(fd, "x", 1);
            assert_true(hear(fd, 10));
        }
        net_turns(20);
        net_jump_ms(999);
        net_turns(20);
        assert_true(hear(fd, 10));
        net_jump_ms(1);
        for (uint64_t limit = net_patience(); hear(fd, ANSWER_MAX); net_turn())
            net_check_patience(limit, "the end", __FILE__, __LINE__);
        if (i == 1)
            assert_non_null(strstr(answer, " 408 "));
        else
            assert_true(answer_size < BIG);
        close(fd);
        net_turns(5);
        net_jump_ms(2000);
    }
}

/* Whatever the connections are at. */
static void the_end_of_the_pages(void **state)
{
    int fds[4];

    (void)state;
    big = BIG;
    fds[0] = arrive_with("");
    fds[1] = arrive_with("GET /hea");
    fds[2] = arrive_with(SLOW);
    fds[3] = arrive_with("GET /healthz HTTP/1.1\r\nHost: localhost:%u\r\n\r\n");
    net_turns(20);
    pages_free(pages);
    pages = NULL;
    for (size_t i = 0; i < 4; i++)
        NET_UNTIL(is_closed(fds[i]));
    net_close_all(fds, 4);
}

/* ---- addresses */

static void not_only_loopback(void **state)
{
    (void)state;
    pages_free(pages);
    memset(net.lines, 0, sizeof net.lines);
    int port = set_up_pages("0.0.0.0:0");
    assert_non_null(strstr(net.lines, "Anyone who reaches the status address"));
    assert_true(socket_parse("127.0.0.1", (uint16_t)port, &address));
    assert_int_equal(ask("GET / HTTP/1.1\r\nHost: 192.0.2.7:PORT\r\n\r\n"), 200);
    assert_int_equal(ask("GET / HTTP/1.1\r\nHost: evil.example:PORT\r\n\r\n"), 403);
}

/* "::" is every address. */
static void both_families(void **state)
{
    int fd = socket_new(AF_INET6);
    bool there = fd >= 0;

    (void)state;
    if (!there)
        skip();
    close(fd);
    pages_free(pages);
    memset(net.lines, 0, sizeof net.lines);
    int port = set_up_pages("[::]:0");
    assert_true(socket_parse("127.0.0.1", (uint16_t)port, &address));
    assert_int_equal(ask("GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"), 200);
}

static void a_port_that_is_taken(void **state)
{
    char error[300];
    struct socket_address taken;
    int listener = net_listener(&taken, 1);

    (void)state;
    assert_null(pages_new(&net.near, &taken, &owner, &posts, error, sizeof error));
    assert_non_null(strstr(error, "the port is in use"));
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGES_TEST(whatever_is_asked_for), PAGES_TEST(every_answer_keeps_browsers_back),
        PAGES_TEST(other_origins),         PAGES_TEST(heads_that_are_too_large),
        PAGES_TEST(large_pages),           PAGES_TEST(a_crowd),
        PAGES_TEST(ten_seconds),           PAGES_TEST(the_end_of_the_pages),
        PAGES_TEST(not_only_loopback),     PAGES_TEST(both_families),
        PAGES_TEST(a_port_that_is_taken),
    };

    return NET_RUN(tests);
}
