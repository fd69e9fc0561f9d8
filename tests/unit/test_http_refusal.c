#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "http/refusal.h"

/* What was sent. */
enum { TOKEN = 1, PLAIN = 2, ORIGIN = 4, CERTIFICATE = 8, SLASH = 16, SNOWFLAKE = 32 };

struct row {
    const char *name;
    unsigned sent;
    const char *head; /* status and headers, without the last empty line */
    const char *body;
    enum http_hop hop;
    const char *holds[3]; /* words of the sentence */
    const char *lacks[3]; /* what it must not guess */
};

#define LOCATION(status, url) status "\r\nLocation: " url

static const struct row rows[] = {
    /* redirects */
    {"to https",
     PLAIN,
     LOCATION("301 Moved", "https://tunnel.example.com/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"requires TLS", "use --server https://tunnel.example.com/tunnel"},
     {"sign-in"}},
    {"to https, another port",
     PLAIN,
     LOCATION("308 Moved", "https://tunnel.example.com:8443/tunnel?x"),
     "",
     HTTP_HOP_HTTP,
     {"requires TLS", "use --server https://tunnel.example.com:8443/tunnel"},
     {"sign-in", "?x"}},
    {"to http",
     TOKEN,
     LOCATION("301 Moved", "http://tunnel.example.com/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"not encrypted", "where TLS is terminated"},
     {"sign-in", "use --server"}},
    {"to another host",
     TOKEN,
     LOCATION("302 Found", "https://www.example.org/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"another host", "use --server https://www.example.org/tunnel"},
     {"sign-in", "token"}},
    {"to another host, without a scheme",
     TOKEN,
     LOCATION("302 Found", "//www.example.org"),
     "",
     HTTP_HOP_HTTP,
     {"another host", "use --server https://www.example.org/tunnel"},
     {"sign-in"}},
    {"to another port",
     TOKEN,
     LOCATION("302 Found", "https://tunnel.example.com:8443/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"another port", "use --server https://tunnel.example.com:8443/tunnel"},
     {"sign-in"}},
    {"a slash is missing",
     TOKEN,
     LOCATION("301 Moved", "/tunnel/"),
     "",
     HTTP_HOP_HTTP,
     {"same path with a slash", "use --server https://tunnel.example.com/tunnel/"},
     {"sign-in", "without"}},
    {"a slash too many",
     SLASH,
     LOCATION("301 Moved", "https://tunnel.example.com/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"without a slash", "use --server https://tunnel.example.com/tunnel"},
     {"sign-in", "tunnel/"}},
    {"to another path",
     TOKEN,
     LOCATION("307 Temporary", "/v2/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"another path", "use --server https://tunnel.example.com/v2/tunnel"},
     {"sign-in"}},
    {"a relative one",
     TOKEN,
     LOCATION("302 Found", "other"),
     "",
     HTTP_HOP_HTTP,
     {"another path", "use --server https://tunnel.example.com/other"},
     {"sign-in"}},
    {"in a circle",
     TOKEN,
     LOCATION("302 Found", "/tunnel"),
     "",
     HTTP_HOP_HTTP,
     {"the same URL", "cookie"},
     {"sign-in", "use --server"}},
    {"to nowhere",
     TOKEN,
     "304 Not Modified",
     "",
     HTTP_HOP_HTTP,
     {"does not say where to"},
     {"sign-in"}},
    {"to no URL",
     TOKEN,
     LOCATION("302 Found", "tunnel:open"),
     "",
     HTTP_HOP_HTTP,
     {"redirected to"},
     {"sign-in"}},
    {"a sign-in page",
     TOKEN,
     LOCATION("302 Found", "https://login.example.org/?next=tunnel"),
     "",
     HTTP_HOP_AUTH,
     {"sign-in page", "login.example.org", "check where it comes from"},
     {"none was sent"}},
    {"a sign-in page, without a token",
     0,
     LOCATION("302 Found", "/oauth2/start?rd=/tunnel"),
     "",
     HTTP_HOP_AUTH,
     {"sign-in page", "none was sent", "--token-file"},
     {"check where"}},
    {"a sign-in page in two words",
     TOKEN,
     LOCATION("303 See", "https://id.example.org/Sign-In"),
     "",
     HTTP_HOP_AUTH,
     {"sign-in page"},
     {NULL}},
    {"authors are no login",
     TOKEN,
     LOCATION("302 Found", "https://example.org/authors/blogin"),
     "",
     HTTP_HOP_HTTP,
     {"another host"},
     {"sign-in"}},
    {"Snowflake's",
     SNOWFLAKE,
     LOCATION("302 Found", "https://app.snowflake.com/myorg/account1"),
     "",
     HTTP_HOP_AUTH,
     {"sign-in page", "none was sent"},
     {"use --server"}},
    {"a token in it",
     TOKEN,
     LOCATION("302 Found", "https://example.org/eyJhbGciOiJub25lIn0.e30.c2ln"),
     "",
     HTTP_HOP_HTTP,
     {"another host"},
     {"eyJ", "c2ln"}},
    /* who may */
    {"401",
     TOKEN,
     "401 Unauthorized",
     "no",
     HTTP_HOP_AUTH,
     {"401: no", "check where the token comes from"},
     {"none was sent"}},
    {"401 without a token",
     0,
     "401 Unauthorized",
     "no",
     HTTP_HOP_AUTH,
     {"none was sent", "--token-file, --token-command, TUNNEL_TOKEN"},
     {"check where"}},
    {"401 for a certificate",
     0,
     "401 Unauthorized",
     "this tunnel requires a client certificate\n",
     HTTP_HOP_AUTH,
     {"--cert and --key"},
     {"--token-file"}},
    {"401 for whoever does not come through the ingress",
     0,
     "401 Unauthorized\r\nWWW-Authenticate: Bearer",
     "the header X-User is missing; in it, the ingress in front of this tunnel says there who the "
     "user "
     "is\n",
     HTTP_HOP_AUTH,
     {"X-User is missing", "--server to the ingress's address"},
     {"--token-file"}},
    {"401 for another user's token",
     TOKEN | CERTIFICATE,
     "401 Unauthorized\r\nWWW-Authenticate: Bearer",
     "the token belongs to a user other than the client certificate's\n",
     HTTP_HOP_AUTH,
     {"must be that user's"},
     {"--auth-scheme"}},
    {"401 for a certificate without a name",
     TOKEN | CERTIFICATE,
     "401 Unauthorized\r\nWWW-Authenticate: Bearer",
     "the client certificate has no URI in its subject alternative name\n",
     HTTP_HOP_AUTH,
     {"certificate of --cert", "has no URI", "--identity-from"},
     {"check where the token"}},
    {"401 for another login",
     0,
     "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"",
     "",
     HTTP_HOP_AUTH,
     {"another kind", "Basic realm", "--header"},
     {"--token-file"}},
    {"403 with a token",
     TOKEN,
     "403 Forbidden",
     "{\"detail\":\"role\"}",
     HTTP_HOP_AUTH,
     {"the token is known", "role or policy"},
     {"none was sent"}},
    {"403 without a token",
     0,
     "403 Forbidden",
     "no",
     HTTP_HOP_AUTH,
     {"no token was sent", "--token-file"},
     {"known", "role"}},
    {"403 of a firewall",
     TOKEN,
     "403 Forbidden",
     " <!DOCTYPE html><html><head><title>Access\n denied</title>",
     HTTP_HOP_HTTP,
     {"firewall", "an HTML page, \"Access denied\""},
     {"known", "role"}},
    {"403 for Origin",
     ORIGIN | TOKEN,
     "403 Forbidden",
     "pages of that origin may not open a tunnel\n",
     HTTP_HOP_AUTH,
     {"Origin of --header"},
     {"known", "role"}},
    {"407 of the server's",
     TOKEN,
     "407 Proxy Authentication Required",
     "",
     HTTP_HOP_PROXY,
     {"--proxy"},
     {"--token"}},
    /* what stands in between */
    {"426",
     TOKEN,
     "426 Upgrade Required",
     "this is a tunnel for Kafka: connect with tunnel-client (WebSocket)\n",
     HTTP_HOP_UPGRADE,
     {"without its Upgrade header", "something in between"},
     {NULL}},
    {"400 of HTTP/1.0",
     TOKEN,
     "400 Bad Request",
     "an upgrade requires HTTP/1.1\n",
     HTTP_HOP_UPGRADE,
     {"an upgrade requires HTTP/1.1", "in between"},
     {NULL}},
    {"400 of nginx with TLS",
     PLAIN,
     "400 Bad Request",
     "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
     HTTP_HOP_HTTP,
     {"the port speaks HTTPS", "sent to HTTPS port"},
     {"malformed"}},
    {"403 of Envoy without upgrade_configs",
     0,
     "403 Forbidden\r\nServer: envoy",
     "",
     HTTP_HOP_UPGRADE,
     {"does not pass WebSockets on", "upgrade_configs"},
     {"login", "token"}},
    {"403 of Envoy, with a reason",
     TOKEN,
     "403 Forbidden\r\nServer: envoy",
     "RBAC: access denied",
     HTTP_HOP_AUTH,
     {"not allowed here", "RBAC: access denied"},
     {"upgrade_configs"}},
    {"400 of nginx, too large",
     TOKEN,
     "400 Bad Request",
     "<html>\r\n<head><title>400 Request Header Or Cookie Too Large</title></head>",
     HTTP_HOP_HTTP,
     {"headers, with the token, are too large", "Request Header Or Cookie Too Large"},
     {"malformed"}},
    {"400 of Apache, too large",
     TOKEN,
     "400 Bad Request",
     "<html><head>\n<title>400 Bad Request</title>\n</head><body><p>Your browser sent a request "
     "that "
     "this server could not understand.<br />\nSize of a request header field exceeds server "
     "limit.<br />",
     HTTP_HOP_HTTP,
     {"headers, with the token, are too large"},
     {"malformed"}},
    {"431", TOKEN, "431 Too Large", "", HTTP_HOP_HTTP, {"too large", "--max-header-size"}, {NULL}},
    {"404",
     TOKEN,
     "404 Not Found",
     "there is no tunnel at this path\n",
     HTTP_HOP_HTTP,
     {"check the path in --server"},
     {NULL}},
    {"200",
     TOKEN,
     "200 OK",
     "<html><title>Welcome to nginx!</title>",
     HTTP_HOP_HTTP,
     {"something other than tunnel-server", "Welcome to nginx!"},
     {NULL}},
    {"405", TOKEN, "405 No", "", HTTP_HOP_UPGRADE, {"refused with 405"}, {NULL}},
    /* trouble */
    {"503",
     TOKEN,
     "503 Busy",
     "no service hosts found",
     HTTP_HOP_HTTP,
     {"no service hosts found", "tries again"},
     {"asked", "restarting"}},
    {"503 with a pause",
     TOKEN,
     "503 Busy\r\nRetry-After: 30",
     "",
     HTTP_HOP_HTTP,
     {"asked to wait for 30 s"},
     {NULL}},
    {"503 with a date",
     TOKEN,
     "503 Busy\r\nRetry-After: Fri, 31 Dec 2027 23:59:59 GMT",
     "",
     HTTP_HOP_HTTP,
     {"asked to wait until Fri, 31 Dec 2027"},
     {NULL}},
    {"503 of a server that stops",
     TOKEN,
     "503 x\r\nRetry-After: 1",
     "the server is restarting: try again\n",
     HTTP_HOP_HTTP,
     {"the server is restarting"},
     {"internal problem"}},
    {"502", TOKEN, "502 Bad Gateway", "", HTTP_HOP_HTTP, {"cannot reach tunnel-server"}, {NULL}},
    {"429",
     TOKEN,
     "429 Slow down\r\nRetry-After: 5",
     "",
     HTTP_HOP_HTTP,
     {"too many requests", "wait for 5 s"},
     {NULL}},
    {"429 of a limit of the server's",
     TOKEN,
     "429 Too Many Requests\r\nRetry-After: 1",
     "this identity has reached its limit of links (--max-links-per-identity)\n",
     HTTP_HOP_HTTP,
     {"allows this user no more links now", "(--max-links-per-identity)", "wait for 1 s"},
     {"too many requests"}},
};

static void read_answer(struct http_response *response, char *body, const struct row *row)
{
    char text[2000];
    size_t consumed;
    int size = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
                        row->head, strlen(row->body), row->body);

    http_response_init(response, HTTP_RESPONSE_ORDINARY, body, HTTP_REFUSAL_BODY_MAX);
    assert_int_equal(
        http_response_receive(response, (const uint8_t *)text, (size_t)size, &consumed),
        HTTP_RESPONSE_DONE);
}

static void each_answer_has_its_own_sentence(void **state)
{
    (void)state;
    static struct http_response response;
    char body[HTTP_REFUSAL_BODY_MAX + 1];
    char text[HTTP_REASON_MAX];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        const struct http_refusal_request request = {
            .host = row->sent & SNOWFLAKE ? "x-y.snowflakecomputing.app" : "tunnel.example.com",
            .port = row->sent & PLAIN ? 80 : 443,
            .tls = !(row->sent & PLAIN),
            .path = row->sent & SLASH ? "/tunnel/" : "/tunnel",
            .token = row->sent & TOKEN,
            .origin = row->sent & ORIGIN,
            .certificate = row->sent & CERTIFICATE,
        };
        read_answer(&response, body, row);
        enum http_hop hop = http_refusal_explain(&request, &response, text, sizeof text);
        if (hop != row->hop)
            fail_msg("%s: %s: %s", row->name, http_hop_name(hop), text);
        for (int j = 0; j < 3; j++) {
            if (row->holds[j] && !strstr(text, row->holds[j]))
                fail_msg("%s: no \"%s\" in: %s", row->name, row->holds[j], text);
            if (row->lacks[j] && strstr(text, row->lacks[j]))
                fail_msg("%s: \"%s\" in: %s", row->name, row->lacks[j], text);
        }
    }
}

/* Whatever it says, of whatever length, the sentence fits. */
static void long_words_are_cut(void **state)
{
    (void)state;
    static struct http_response response;
    char body[HTTP_REFUSAL_BODY_MAX + 1];
    char text[HTTP_REASON_MAX];
    char head[1500];
    char words[1001];
    const struct http_refusal_request request = {
        .host = "tunnel.example.com", .port = 443, .tls = true, .path = "/tunnel"};

    for (int status = 200; status < 600; status++) {
        memset(words, 'x', sizeof words - 1);
        for (size_t i = 40; i < sizeof words; i += 40)
            words[i] = ' ';
        words[sizeof words - 1] = '\0';
        snprintf(head, sizeof head, "%d x\r\nLocation: /%s\r\nRetry-After: %.300s", status, words,
                 words);
        if (status == 204 || status == 304)
            continue; /* without a body */
        const struct row row = {.head = head, .body = ""};
        read_answer(&response, body, &row);
        memcpy(body, words, sizeof words);
        http_refusal_explain(&request, &response, text, sizeof text);
        assert_true(strlen(text) > 20 && strlen(text) < sizeof text - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_answer_has_its_own_sentence),
        cmocka_unit_test(long_words_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
