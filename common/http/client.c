#include "http/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/memory.h"
#include "http/refusal.h"
#include "http/retry_after.h"
#include "http/websocket_key.h"

enum {
    HEADERS_MAX = 64,
    OWN_HEADERS = 6,
    RETRY_AFTER_MAX_S = 60,
};

static const char PROTOCOL[] = "kafka-tunnel";

struct http_client {
    struct http_way *way;
    struct http_client_settings settings;
    struct http_call *call; /* the dial under way */
    http_dial_callback callback;
    void *context;
    char accept[WEBSOCKET_ACCEPT_SIZE]; /* what Sec-WebSocket-Accept must say */
    bool token_sent;
    bool origin_sent;
    char reason[HTTP_REASON_MAX];
};

/* ---- the answer */

__attribute__((format(printf, 4, 5))) static enum http_hop
explain_upgrade(struct http_client *client, const struct http_call_result *result,
                enum http_hop hop, const char *format, ...)
{
    const struct http_call_request request = {.host = client->settings.host,
                                              .port = client->settings.port};
    va_list arguments;

    http_call_prefix(&request, result->trace, client->reason, sizeof client->reason);
    size_t fill = strlen(client->reason);
    va_start(arguments, format);
    vsnprintf(client->reason + fill, sizeof client->reason - fill, format, arguments);
    va_end(arguments);
    return hop;
}

static bool is_sent(const char *const *headers, const char *name)
{
    size_t size = strlen(name);

    for (; headers && *headers; headers++)
        if (strncasecmp(*headers, name, size) == 0 && (*headers)[size] == ':')
            return true;
    return false;
}

/* An answer other than 101. */
static enum http_hop explain_status(struct http_client *client,
                                    const struct http_call_result *result)
{
    const struct http_refusal_request request = {
        .host = client->settings.host,
        .port = client->settings.port,
        .tls = client->settings.tls,
        .path = client->settings.path,
        .token = client->token_sent,
        .origin = client->origin_sent,
        .certificate = client->settings.certificate,
    };
    char text[HTTP_REASON_MAX];
    enum http_hop hop = http_refusal_explain(&request, result->response, text, sizeof text);

    return explain_upgrade(client, result, hop, "%s", text);
}

/* 101: is it a WebSocket's? (RFC 6455, 4.1) */
static enum http_hop check_upgrade(struct http_client *client,
                                   const struct http_call_result *result)
{
    const struct http_response *response = result->response;
    char accept[WEBSOCKET_ACCEPT_SIZE + 1];
    char value[sizeof PROTOCOL + 1];

    http_response_header(response, "sec-websocket-accept", accept, sizeof accept);
    if (!http_response_has(response, "upgrade", "websocket") ||
        !http_response_has(response, "connection", "upgrade") ||
        strcmp(accept, client->accept) != 0)
        return explain_upgrade(
            client, result, HTTP_HOP_UPGRADE,
            "the answer was 101, but not a WebSocket's; something in between answers "
            "in the server's place");
    if (http_response_header(response, "sec-websocket-extensions", value, sizeof value))
        return explain_upgrade(client, result, HTTP_HOP_UPGRADE,
                               "the answer names a WebSocket extension that was not requested (%s)",
                               value);
    /* An ingress may take the name of the protocol out; another one is another service's. */
    if (http_response_header(response, "sec-websocket-protocol", value, sizeof value) &&
        strcmp(value, PROTOCOL) != 0)
        return explain_upgrade(
            client, result, HTTP_HOP_UPGRADE,
            "the server is not tunnel-server: its WebSocket speaks another protocol (%s)", value);
    return HTTP_HOP_NONE;
}

/* How long a server that can't now wants to be left alone. */
static unsigned retry_after_ms(const struct http_response *response)
{
    char value[64];

    if (!response->head_done || (response->status != 503 && response->status != 429) ||
        !http_response_header(response, "retry-after", value, sizeof value))
        return 0;
    int64_t seconds = http_retry_after(value, (int64_t)time(NULL));
    if (seconds <= 0)
        return 0;
    return seconds < RETRY_AFTER_MAX_S ? (unsigned)seconds * 1000 : RETRY_AFTER_MAX_S * 1000;
}

static void on_upgrade_called(void *context, const struct http_call_result *result)
{
    struct http_client *client = context;
    struct http_dial_result mine = {
        .hop = result->hop,
        .transport = result->transport,
        .status = result->response->head_done ? result->response->status : 0,
        .login_refused = result->login_refused,
        .retry_after_ms = retry_after_ms(result->response),
        .reason = result->reason,
        .trace = result->trace,
        .response = result->response,
    };

    client->call = NULL;
    if (result->hop == HTTP_HOP_NONE) {
        mine.hop =
            mine.status == 101 ? check_upgrade(client, result) : explain_status(client, result);
        mine.login_refused = mine.status == 407;
        mine.reason = client->reason;
    }
    if (mine.hop != HTTP_HOP_NONE) {
        transport_free(result->transport);
        mine.transport = NULL;
    }
    client->callback(client->context, &mine);
}

/* ---- the request */

void http_client_dial(struct http_client *client, const char *const *headers, unsigned timeout_ms,
                      http_dial_callback callback, void *context)
{
    char key_header[60];
    char protocol_header[60];
    char key[WEBSOCKET_KEY_SIZE];
    const char *all[HEADERS_MAX + OWN_HEADERS + 1] = {
        "Connection: Upgrade", "Upgrade: websocket",      "Sec-WebSocket-Version: 13", key_header,
        protocol_header,       "Cache-Control: no-cache",
    };
    const struct http_call_request request = {
        .host = client->settings.host,
        .port = client->settings.port,
        .tls = client->settings.tls,
        .named_by = "--server",
        .method = "GET",
        .path = client->settings.path,
        .headers = all,
        .answer_max = HTTP_REFUSAL_BODY_MAX,
        .show_certificate = true,
        .upgrade = true,
    };

    websocket_key_new(key);
    websocket_key_accept(key, client->accept);
    snprintf(key_header, sizeof key_header, "Sec-WebSocket-Key: %s", key);
    snprintf(protocol_header, sizeof protocol_header, "Sec-WebSocket-Protocol: %s", PROTOCOL);
    for (size_t i = 0; headers && headers[i] && i < HEADERS_MAX; i++)
        all[OWN_HEADERS + i] = headers[i];
    client->token_sent = is_sent(headers, "authorization");
    client->origin_sent = is_sent(headers, "origin");
    client->callback = callback;
    client->context = context;
    client->call = http_call_start(client->way, &request, timeout_ms, on_upgrade_called, client);
}

void http_client_cancel(struct http_client *client)
{
    http_call_cancel(client->call);
    client->call = NULL;
}

struct http_client *http_client_new(struct http_way *way,
                                    const struct http_client_settings *settings)
{
    struct http_client *client = memory_new(sizeof *client);

    client->way = way;
    client->settings = *settings;
    return client;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    http_call_cancel(client->call);
    free(client);
}
