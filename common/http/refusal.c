#include "http/refusal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/redact.h"
#include "config/url.h"

enum { SHOWN_MAX = 200, LOCATION_MAX = 1024 };

/* Ends a sentence about a token that is missing. */
#define GIVE_ONE "give one with --token-file, --token-command, TUNNEL_TOKEN or --private-key-file"

struct refusal {
    const struct http_refusal_request *request;
    const struct http_response *response;
    bool html;
    char answer[2 * SHOWN_MAX]; /* "403: what its body says" */
    char *text;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static enum http_hop
say_refusal(const struct refusal *refusal, enum http_hop hop, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(refusal->text, refusal->size, format, arguments);
    va_end(arguments);
    return hop;
}

/* ---- what the answer holds */

static bool looks_like_html(const char *body)
{
    body += strspn(body, " \t\r\n");
    return strncasecmp(body, "<!doctype", 9) == 0 || strncasecmp(body, "<html", 5) == 0;
}

/* Others' words, fit for one line. They may repeat the token that was sent. */
static void show_words(const char *text, size_t size, char out[SHOWN_MAX])
{
    if (size >= SHOWN_MAX)
        size = redact_cut(text, SHOWN_MAX - 1);
    redact(text, size, NULL, out, SHOWN_MAX);
}

static void show_header(const struct http_response *response, const char *name, char out[SHOWN_MAX])
{
    char value[LOCATION_MAX];

    http_response_header(response, name, value, sizeof value);
    show_words(value, strlen(value), out);
}

/* Where words stand in text, in whatever case; NULL: nowhere. */
static const char *find_words(const char *text, const char *words)
{
    for (; *text; text++)
        if (strncasecmp(text, words, strlen(words)) == 0)
            return text;
    return NULL;
}

static void show_title(const char *body, char out[SHOWN_MAX])
{
    const char *title = find_words(body, "<title>");
    const char *end = title ? find_words(title, "</title>") : NULL;

    out[0] = '\0';
    if (end)
        show_words(title + 7, (size_t)(end - title - 7), out);
}

static void describe_answer(struct refusal *refusal)
{
    const char *body = refusal->response->body ? refusal->response->body : "";
    int status = refusal->response->status;
    char words[SHOWN_MAX];

    refusal->html = looks_like_html(body);
    if (refusal->html) {
        show_title(body, words);
        snprintf(refusal->answer, sizeof refusal->answer, "%d: an HTML page%s%s%s", status,
                 words[0] ? ", \"" : "", words, words[0] ? "\"" : "");
    } else {
        show_words(body, strlen(body), words);
        snprintf(refusal->answer, sizeof refusal->answer, "%d%s%s", status, words[0] ? ": " : "",
                 words);
    }
}

static bool body_says(const struct refusal *refusal, const char *words)
{
    const char *body = refusal->response->body;

    return body && find_words(body, words);
}

/* ---- redirects */

/* The next word of letters and digits from *at on, in lower case; false: there is none. */
static bool next_word(const char **at, char word[16])
{
    size_t size = 0;

    while (**at && !isalnum((unsigned char)**at))
        ++*at;
    for (; isalnum((unsigned char)**at); ++*at)
        if (size < 15)
            word[size++] = (char)tolower((unsigned char)**at);
    word[size] = '\0';
    return size > 0;
}

static bool is_among(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

static bool host_ends_with(const char *text, const char *end)
{
    size_t size = strlen(text);

    return size >= strlen(end) && strcasecmp(text + size - strlen(end), end) == 0;
}

static bool is_sign_in(const struct http_refusal_request *request, const char *location)
{
    static const char *const words[] = {"login", "logon",  "signin",    "signon",       "sso",
                                        "oauth", "oauth2", "oidc",      "openid",       "saml",
                                        "saml2", "auth",   "authorize", "authenticate", "adfs",
                                        "idp",   NULL};
    static const char *const first_halves[] = {"sign", "log", NULL};
    static const char *const second_halves[] = {"in", "on", NULL};
    const char *at = location;
    char before[16] = "";
    char word[16];

    while (next_word(&at, word)) {
        if (is_among(word, words) ||
            (is_among(before, first_halves) && is_among(word, second_halves)))
            return true;
        memcpy(before, word, sizeof before);
    }
    /* An ingress of Snowflake's leads to the account's own pages. */
    return host_ends_with(request->host, ".snowflakecomputing.app") && strstr(location, "://") &&
           !find_words(location, request->host);
}

/* Where it leads, without query and fragment (RFC 9110, 10.2.2). false: that is no URL of HTTP. */
static bool resolve_location(const struct http_refusal_request *request, const char *location,
                             struct url *url)
{
    const char *scheme = request->tls ? "https" : "http";
    int size = (int)strcspn(location, "?#");
    char authority[ADDRESS_TEXT_MAX];
    char absolute[2 * LOCATION_MAX];
    /* What a relative one is relative to: the path up to its last slash. */
    int base = (int)(strrchr(request->path, '/') - request->path) + 1;

    address_format(request->host, request->port, authority);
    if (strncasecmp(location, "http://", 7) == 0 || strncasecmp(location, "https://", 8) == 0)
        snprintf(absolute, sizeof absolute, "%.*s", size, location);
    else if (strncmp(location, "//", 2) == 0)
        snprintf(absolute, sizeof absolute, "%s:%.*s", scheme, size, location);
    else if (location[0] == '/')
        snprintf(absolute, sizeof absolute, "%s://%s%.*s", scheme, authority, size, location);
    else
        snprintf(absolute, sizeof absolute, "%s://%s%.*s%.*s", scheme, authority, base,
                 request->path, size, location);
    return url_parse(absolute, url) == NULL;
}

/* As it would stand in --server. */
static void format_url(const struct url *url, char out[SHOWN_MAX])
{
    char authority[ADDRESS_TEXT_MAX];
    char text[ADDRESS_TEXT_MAX + URL_PATH_MAX + 10];

    address_format(url->host, url->port, authority);
    if (url->port == (url->tls ? 443 : 80))
        *strrchr(authority, ':') = '\0';
    snprintf(text, sizeof text, "%s://%s%s", url->tls ? "https" : "http", authority, url->path);
    show_words(text, strlen(text), out);
}

static size_t without_slash(const char *path)
{
    size_t size = strlen(path);

    return size > 1 && path[size - 1] == '/' ? size - 1 : size;
}

/* 'to' is where it leads; server how that stands in --server. */
static enum http_hop explain_target(const struct refusal *refusal, const struct url *url,
                                    const char *to, const char *server)
{
    const struct http_refusal_request *request = refusal->request;
    bool same_host = strcasecmp(url->host, request->host) == 0;
    bool same_path = strcmp(url->path, request->path) == 0;
    size_t size = without_slash(url->path);

    if (request->tls && !url->tls)
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "redirected to %s, which is not encrypted: the server does not know "
                           "that it was reached over https; fix this where TLS is terminated",
                           to);
    if (!request->tls && url->tls && same_host)
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "redirected to https: the server requires TLS; use --server %s", server);
    if (!same_host || url->port != request->port)
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "redirected to another %s, %s; if the tunnel is there, use --server %s",
                           same_host ? "port" : "host", to, server);
    if (same_path)
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "redirected to %s, the same URL: something in between takes the client "
                           "for a browser, and may require a cookie",
                           to);
    if (size == without_slash(request->path) && memcmp(url->path, request->path, size) == 0)
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "redirected to the same path with%s a slash at the end; use --server %s",
                           url->path[size] ? "" : "out", server);
    return say_refusal(refusal, HTTP_HOP_HTTP,
                       "redirected to another path, %s; if the tunnel is there, use --server %s",
                       to, server);
}

static enum http_hop explain_redirection(const struct refusal *refusal)
{
    char location[LOCATION_MAX];
    char to[SHOWN_MAX];
    char server[SHOWN_MAX];
    struct url url;

    http_response_header(refusal->response, "location", location, sizeof location);
    show_words(location, strlen(location), to);
    if (!location[0])
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "the answer was %s, a redirect that does not say where to; something "
                           "other than tunnel-server answers there",
                           refusal->answer);
    if (is_sign_in(refusal->request, location))
        return refusal->request->token
                   ? say_refusal(
                         refusal, HTTP_HOP_AUTH,
                         "redirected to %s, apparently a sign-in page: the ingress does not accept "
                         "the token as valid; check where it comes from, and --auth-scheme",
                         to)
                   : say_refusal(refusal, HTTP_HOP_AUTH,
                                 "redirected to %s, apparently a sign-in page: the ingress "
                                 "requires a token, and none was sent; " GIVE_ONE,
                                 to);
    if (!resolve_location(refusal->request, location, &url))
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "redirected to %s; something other than tunnel-server answers there",
                           to);
    format_url(&url, server);
    return explain_target(refusal, &url, to, server);
}

/* ---- who may */

static enum http_hop explain_unauthorized(const struct refusal *refusal)
{
    const struct http_refusal_request *request = refusal->request;
    char offers[SHOWN_MAX];

    show_header(refusal->response, "www-authenticate", offers);
    if (body_says(refusal, "client certificate") && !request->certificate)
        return say_refusal(refusal, HTTP_HOP_AUTH,
                           "the server requires a client certificate, and none was sent; it "
                           "answered %s; give one with --cert and --key",
                           refusal->answer);
    /* tunnel-server's own words, for what no other token mends. */
    if (body_says(refusal, "the ingress in front of this tunnel"))
        return say_refusal(
            refusal, HTTP_HOP_AUTH,
            "the server accepts only requests that come through its ingress, and answered %s; set "
            "--server to the ingress's address; if it already is, the ingress must set the header "
            "that tunnel-server's --identity-header names",
            refusal->answer);
    if (body_says(refusal, "the token belongs to a user other than"))
        return say_refusal(refusal, HTTP_HOP_AUTH,
                           "the server answered %s; the name after the token in the server's "
                           "--token-file must be that user's",
                           refusal->answer);
    if (body_says(refusal, "the client certificate"))
        return say_refusal(refusal, HTTP_HOP_AUTH,
                           "the server does not accept the certificate of --cert, and answered %s; "
                           "tunnel-server's --identity-from says which of its names counts",
                           refusal->answer);
    if (offers[0] && !find_words(offers, "bearer"))
        return say_refusal(refusal, HTTP_HOP_AUTH,
                           "another kind of login is required (%s), and the answer was %s; send "
                           "that login with --header Authorization:...",
                           offers, refusal->answer);
    if (!request->token)
        return say_refusal(
            refusal, HTTP_HOP_AUTH,
            "the server requires a token, and none was sent; it answered %s; " GIVE_ONE,
            refusal->answer);
    return say_refusal(refusal, HTTP_HOP_AUTH,
                       "the server requires a valid token and answered %s; check where the token "
                       "comes from, and --auth-scheme",
                       refusal->answer);
}

static enum http_hop explain_forbidden(const struct refusal *refusal)
{
    const struct http_refusal_request *request = refusal->request;
    const char *body = refusal->response->body;
    char software[SHOWN_MAX];

    show_header(refusal->response, "server", software);
    if (strcmp(software, "envoy") == 0 && (!body || !body[0]))
        return say_refusal(
            refusal, HTTP_HOP_UPGRADE,
            "Envoy answered %s without a word, as it does where it does not pass WebSockets on; "
            "set upgrade_configs for the route or the connection manager there",
            refusal->answer);
    if (refusal->html)
        return say_refusal(
            refusal, HTTP_HOP_HTTP,
            "something in between (a firewall, a proxy or the ingress) forbids it with its own "
            "page (%s); ask its administrator to allow WebSockets to this host and path",
            refusal->answer);
    if (request->origin && body_says(refusal, "origin"))
        return say_refusal(refusal, HTTP_HOP_AUTH,
                           "the server refuses the Origin of --header (the answer was %s); remove "
                           "it, or have it allowed there",
                           refusal->answer);
    if (request->token)
        return say_refusal(
            refusal, HTTP_HOP_AUTH,
            "the token is known but not allowed here (the answer was %s); check its role or policy",
            refusal->answer);
    return say_refusal(refusal, HTTP_HOP_AUTH,
                       "a login is required, and no token was sent (the answer was %s); " GIVE_ONE,
                       refusal->answer);
}

/* ---- the rest */

static enum http_hop explain_trouble(const struct refusal *refusal)
{
    int status = refusal->response->status;
    char wait[SHOWN_MAX];
    char when[SHOWN_MAX + 40] = "";

    show_header(refusal->response, "retry-after", wait);
    if (wait[0])
        snprintf(when, sizeof when,
                 wait[strspn(wait, "0123456789")] ? "; it is asked to wait until %s"
                                                  : "; it is asked to wait for %s s",
                 wait);
    if (body_says(refusal, "server is restarting"))
        return say_refusal(
            refusal, HTTP_HOP_HTTP,
            "the server is restarting (the answer was %s); tunnel-client tries again%s",
            refusal->answer, when);
    if (status == 429 && body_says(refusal, "this identity has reached its limit"))
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "the server allows this user no more links now, and answered %s; "
                           "tunnel-client tries again%s",
                           refusal->answer, when);
    if (status == 429)
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "the ingress or server has received too many requests (the answer was "
                           "%s); tunnel-client tries again%s",
                           refusal->answer, when);
    if (status == 502 || status == 504)
        return say_refusal(
            refusal, HTTP_HOP_HTTP,
            "the ingress or a proxy cannot reach tunnel-server (the answer was %s); is it running, "
            "and is its address right there? Tunnel-client tries again%s",
            refusal->answer, when);
    return say_refusal(refusal, HTTP_HOP_HTTP,
                       "the ingress or server has an internal problem and answered %s; "
                       "tunnel-client tries again%s",
                       refusal->answer, when);
}

static enum http_hop explain_too_large(const struct refusal *refusal)
{
    return say_refusal(
        refusal, HTTP_HOP_HTTP,
        "the request's headers, with the token, are too large for the ingress or server (the "
        "answer was %s); tunnel-server's limit is --max-header-size",
        refusal->answer);
}

static enum http_hop explain_bad_request(const struct refusal *refusal)
{
    /* As nginx and Apache have it. */
    if (body_says(refusal, "header") &&
        (body_says(refusal, "too large") || body_says(refusal, "exceeds server limit")))
        return explain_too_large(refusal);
    if (!refusal->request->tls && (body_says(refusal, "https") || body_says(refusal, "ssl")))
        return say_refusal(refusal, HTTP_HOP_HTTP,
                           "the port speaks HTTPS, but --server says http://; the answer was %s",
                           refusal->answer);
    return say_refusal(refusal, HTTP_HOP_UPGRADE,
                       "the WebSocket request was refused as malformed (the answer was %s); "
                       "something in between may have changed it",
                       refusal->answer);
}

enum http_hop http_refusal_explain(const struct http_refusal_request *request,
                                   const struct http_response *response, char *text, size_t size)
{
    struct refusal refusal = {.request = request, .response = response, .text = text, .size = size};
    int status = response->status;

    describe_answer(&refusal);
    if (status == 429 || status >= 500)
        return explain_trouble(&refusal);
    if (status >= 300 && status < 400)
        return explain_redirection(&refusal);
    switch (status) {
    case 400:
        return explain_bad_request(&refusal);
    case 401:
        return explain_unauthorized(&refusal);
    case 403:
        return explain_forbidden(&refusal);
    case 404:
        return say_refusal(&refusal, HTTP_HOP_HTTP,
                           "no tunnel at this path (the answer was %s); check the path in --server",
                           refusal.answer);
    case 407:
        return say_refusal(&refusal, HTTP_HOP_PROXY,
                           "a proxy that you have not configured is in between and requires a "
                           "login (the answer was %s); set --proxy http://USER:PASSWORD@HOST:PORT",
                           refusal.answer);
    case 426:
        return say_refusal(
            &refusal, HTTP_HOP_UPGRADE,
            "the request arrived without its Upgrade header, which something in between has "
            "removed (the answer was %s); configure the proxy or ingress to pass WebSockets on",
            refusal.answer);
    case 413:
    case 414:
    case 431:
        return explain_too_large(&refusal);
    default:
        break;
    }
    if (status < 300)
        return say_refusal(
            &refusal, HTTP_HOP_HTTP,
            "a web server answered with a page instead of the upgrade (%s): something other than "
            "tunnel-server answers there, or a proxy in between does not pass WebSockets",
            refusal.answer);
    return say_refusal(&refusal, HTTP_HOP_UPGRADE, "the upgrade to a WebSocket was refused with %s",
                       refusal.answer);
}
