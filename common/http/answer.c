#include "http/answer.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct status {
    int number;
    const char *reason;
    const char *headers; /* that come with it always */
};

#define NOTHING_MORE ""

/* The first stands for those that are not here. */
static const struct status statuses[] = {
    {500, "Internal Server Error", NOTHING_MORE},
    {200, "OK", NOTHING_MORE},
    {400, "Bad Request", NOTHING_MORE},
    {401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"},
    {403, "Forbidden", NOTHING_MORE},
    {404, "Not Found", NOTHING_MORE},
    {405, "Method Not Allowed", NOTHING_MORE},
    {408, "Request Timeout", NOTHING_MORE},
    {413, "Content Too Large", NOTHING_MORE},
    {417, "Expectation Failed", NOTHING_MORE},
    {426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
    {429, "Too Many Requests", "Retry-After: 1\r\n"},
    {431, "Request Header Fields Too Large", NOTHING_MORE},
    {501, "Not Implemented", NOTHING_MORE},
    {503, "Service Unavailable", "Retry-After: 1\r\n"},
    {505, "HTTP Version Not Supported", NOTHING_MORE},
};

static const struct status *find_status(int number)
{
    for (size_t i = 1; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].number == number)
            return &statuses[i];
    return &statuses[0];
}

size_t http_answer_head(const struct http_answer *answer, char out[HTTP_ANSWER_HEAD_MAX])
{
    const struct status *status = find_status(answer->status);
    bool refused = status->number == 405;
    int size = snprintf(out, HTTP_ANSWER_HEAD_MAX,
                        "HTTP/1.1 %d %s\r\n"
                        "Date: %.40s\r\n"
                        "Content-Type: %s\r\n"
                        "Content-Length: %zu\r\n"
                        "Cache-Control: no-store\r\n"
                        "Connection: close%s\r\n"
                        "%s%s%s%s%s\r\n",
                        status->number, status->reason, answer->date,
                        answer->type ? answer->type : "text/plain; charset=utf-8", answer->size,
                        /* Upgrade is only for the next hop (RFC 9110, 7.8). */
                        status->number == 426 ? ", Upgrade" : "", status->headers,
                        refused ? "Allow: " : "",
                        !refused        ? ""
                        : answer->allow ? answer->allow
                                        : "GET, HEAD",
                        refused ? "\r\n" : "", answer->headers ? answer->headers : "");

    /* What callers give is theirs, and of a known size. */
    assert(size > 0 && size < HTTP_ANSWER_HEAD_MAX);
    return (size_t)size;
}

size_t http_answer_upgrade(const char *accept, const char *protocol, char out[HTTP_ANSWER_HEAD_MAX])
{
    return (size_t)snprintf(out, HTTP_ANSWER_HEAD_MAX,
                            "HTTP/1.1 101 Switching Protocols\r\n"
                            "Upgrade: websocket\r\n"
                            "Connection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: %.40s\r\n"
                            "%s%.40s%s\r\n",
                            accept, protocol ? "Sec-WebSocket-Protocol: " : "",
                            protocol ? protocol : "", protocol ? "\r\n" : "");
}
