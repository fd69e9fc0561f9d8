#include "http/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "http/retry_after.h"
#include "io/socket.h"

enum { RETRY_AFTER_MAX_S = 3600 };

struct http_fetch {
    struct http_call *call;
    http_fetch_callback callback;
    void *context;
};

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7), read without regard to the locale; 0: none. */
static int64_t read_date(const struct http_response *response)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char text[64];
    char month[4];
    struct tm tm = {0};

    if (!http_response_header(response, "date", text, sizeof text) ||
        sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
        return 0;
    const char *at = strstr(months, month);
    if (!at || (at - months) % 3 != 0 || tm.tm_year < 1970)
        return 0;
    tm.tm_mon = (int)(at - months) / 3;
    tm.tm_year -= 1900;
    return (int64_t)timegm(&tm);
}

static bool is_safe_url(const struct url *url)
{
    struct socket_address address;

    return url->tls || address_same_host(url->host, "localhost") ||
           (socket_parse(url->host, 0, &address) && socket_is_loopback(&address));
}

const char *http_fetch_check_url(const char *text, struct url *url)
{
    const char *why = NULL;

    if (strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0)
        return "is no https:// URL";
    why = url_parse(text, url);
    if (!why && !is_safe_url(url))
        why = "must begin with https://: others could read or change what is on its way";
    return why;
}

static unsigned read_retry_after(const struct http_response *response)
{
    char value[64];

    if (!http_response_header(response, "retry-after", value, sizeof value))
        return 0;
    int64_t seconds = http_retry_after(value, (int64_t)time(NULL));
    if (seconds <= 0)
        return 0;
    return seconds < RETRY_AFTER_MAX_S ? (unsigned)seconds : RETRY_AFTER_MAX_S;
}

static void on_fetch_called(void *context, const struct http_call_result *result)
{
    struct http_fetch *fetch = context;
    char location[300] = "";
    struct http_fetch_result mine = {
        .hop = result->hop,
        .login_refused = result->login_refused,
        .reason = result->reason,
        .location = location,
        .body = "",
    };

    if (result->hop == HTTP_HOP_NONE) {
        mine.status = result->response->status;
        mine.body = result->response->body;
        mine.body_size = result->response->body_size;
        mine.date = read_date(result->response);
        mine.retry_after_s = read_retry_after(result->response);
        http_response_header(result->response, "location", location, sizeof location);
    }
    fetch->callback(fetch->context, &mine);
    free(fetch);
}

struct http_fetch *http_fetch_start(struct http_way *way, const struct http_fetch_request *request,
                                    unsigned timeout_ms, http_fetch_callback callback,
                                    void *context)
{
    struct http_fetch *fetch = memory_new(sizeof *fetch);
    char type[200];
    char accept[200];
    const char *headers[5] = {"Connection: close"};
    size_t count = 1;

    fetch->callback = callback;
    fetch->context = context;
    if (request->header)
        headers[count++] = request->header;
    if (request->content_type) {
        snprintf(type, sizeof type, "Content-Type: %s", request->content_type);
        headers[count++] = type;
    }
    snprintf(accept, sizeof accept, "Accept: %s", request->accept ? request->accept : "*/*");
    headers[count] = accept;
    const struct http_call_request call = {
        .host = request->host,
        .port = request->port,
        .tls = request->tls,
        .named_by = request->named_by,
        .method = request->method,
        .path = request->path,
        .headers = headers,
        .body = request->content_type ? request->body : NULL,
        .body_size = request->content_type ? request->body_size : 0,
        .answer_max = HTTP_FETCH_BODY_MAX,
    };
    fetch->call = http_call_start(way, &call, timeout_ms, on_fetch_called, fetch);
    return fetch;
}

void http_fetch_cancel(struct http_fetch *fetch)
{
    if (!fetch)
        return;
    http_call_cancel(fetch->call);
    free(fetch);
}
