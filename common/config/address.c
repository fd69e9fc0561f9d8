#include "config/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/printable.h"
#include "config/secret.h"

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static bool holds_only(const char *text, size_t size, const char *characters)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\0' || !strchr(characters, text[i]))
            return false;
    }
    return true;
}

void address_format(const char *host, uint16_t port, char text[ADDRESS_TEXT_MAX])
{
    snprintf(text, ADDRESS_TEXT_MAX, strchr(host, ':') ? "[%.*s]:%u" : "%.*s:%u", ADDRESS_HOST_MAX,
             host, (unsigned)port);
}

size_t address_host_size(const char *host)
{
    size_t size = strlen(host);

    return size > 1 && host[size - 1] == '.' ? size - 1 : size;
}

bool address_same_host(const char *a, const char *b)
{
    size_t size = address_host_size(a);

    return size == address_host_size(b) && strncasecmp(a, b, size) == 0;
}

void address_host_undotted(const char *host, char out[ADDRESS_HOST_MAX + 1])
{
    size_t size = address_host_size(host);

    if (size > ADDRESS_HOST_MAX)
        size = ADDRESS_HOST_MAX;
    memcpy(out, host, size);
    out[size] = '\0';
}

bool address_take_host(const char *text, size_t size, char host[ADDRESS_HOST_MAX + 1])
{
    if (size > ADDRESS_HOST_MAX || !printable_is_word(text, size))
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    return true;
}

const char *address_parse_host(const char *text, size_t size, char host[ADDRESS_HOST_MAX + 1])
{
    if (size == 0)
        return "the host is missing";
    if (size > ADDRESS_HOST_MAX)
        return "the host is longer than 253 characters";
    if (memchr(text, ':', size))
        return holds_only(text, size, "0123456789abcdefABCDEF.:")
                   ? "write an IPv6 address in brackets, as in [::1]:9092"
                   : "there is more than one colon: write HOST:PORT, and separate several "
                     "addresses with commas";
    if (!holds_only(text, size, NAME_CHARACTERS))
        return "the host contains a character that is not allowed in a host name";
    memcpy(host, text, size);
    host[size] = '\0';
    return NULL;
}

const char *address_parse_ipv6(const char *text, size_t size, char host[ADDRESS_HOST_MAX + 1])
{
    struct in6_addr ignored;

    if (size > ADDRESS_HOST_MAX)
        return "the text in brackets is not an IPv6 address";
    memcpy(host, text, size);
    host[size] = '\0';
    if (inet_pton(AF_INET6, host, &ignored) != 1)
        return "the text in brackets is not an IPv6 address";
    return NULL;
}

const char *address_parse_port(const char *text, size_t size, uint16_t *port)
{
    unsigned value = 0;

    if (size == 0)
        return "the port is missing";
    if (size > 5 || !holds_only(text, size, "0123456789"))
        return "the port is not a number from 0 to 65535";
    for (size_t i = 0; i < size; i++)
        value = value * 10 + (unsigned)(text[i] - '0');
    if (value > UINT16_MAX)
        return "the port is not a number from 0 to 65535";
    *port = (uint16_t)value;
    return NULL;
}

/* HOST:PORT in text[0..size), any port. */
static const char *parse_pair(const char *text, size_t size, struct address *out)
{
    const char *end = text + size;
    const char *port;
    const char *error;

    for (size_t i = 0; i + 3 <= size; i++)
        if (memcmp(text + i, "://", 3) == 0)
            return "an address does not begin with SCHEME://: write HOST:PORT";
    if (size > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', size);

        if (!close)
            return "the closing bracket of the IPv6 address is missing";
        error = address_parse_ipv6(text + 1, (size_t)(close - text - 1), out->host);
        if (!error && (close + 1 == end || close[1] != ':'))
            error = "the port is missing: write [ADDRESS]:PORT";
        port = close + 2;
    } else {
        const char *colon = end;

        while (colon > text && colon[-1] != ':')
            colon--;
        if (colon == text)
            return "the port is missing: write HOST:PORT";
        error = address_parse_host(text, (size_t)(colon - 1 - text), out->host);
        port = colon;
    }
    return error ? error : address_parse_port(port, (size_t)(end - port), &out->port);
}

static const char *parse_dialled(const char *text, size_t size, struct address *out)
{
    const char *error = parse_pair(text, size, out);

    if (!error && out->port == 0)
        return "you cannot connect to port 0";
    return error;
}

const char *address_parse(const char *text, struct address *out)
{
    return parse_dialled(text, strlen(text), out);
}

const char *address_parse_listen(const char *text, struct address *out)
{
    if (strpbrk(text, ":[]."))
        return parse_pair(text, strlen(text), out);
    strcpy(out->host, "127.0.0.1");
    return address_parse_port(text, strlen(text), &out->port);
}

/* Takes NAME= off the start of text, or default_name if it is not there. */
static const char *take_name(const char **text, const char *default_name,
                             char name[ADDRESS_NAME_MAX + 1])
{
    const char *equals = strchr(*text, '=');

    if (!equals) {
        if (!default_name)
            return "the name is missing: write NAME= in front";
        snprintf(name, ADDRESS_NAME_MAX + 1, "%s", default_name);
        return NULL;
    }

    size_t size = (size_t)(equals - *text);
    if (size == 0)
        return "the name in front of = is empty";
    if (size > ADDRESS_NAME_MAX)
        return "the name is longer than 63 characters";
    if (!holds_only(*text, size, NAME_CHARACTERS))
        return "a name may contain only letters, digits, dots, underscores and hyphens";
    memcpy(name, *text, size);
    name[size] = '\0';
    *text = equals + 1;
    return NULL;
}

const char *address_parse_named_listen(const char *text, const char *default_name,
                                       struct address_named *out)
{
    const char *error = take_name(&text, default_name, out->name);

    return error ? error : address_parse_listen(text, &out->address);
}

const char *address_parse_target(const char *text, struct address_named *out)
{
    const char *error = take_name(&text, NULL, out->name);

    return error ? error : address_parse(text, &out->address);
}

/* Takes a security protocol's name off a broker's address. */
static const char *take_protocol(const char **text, size_t *size, enum address_protocol *protocol)
{
    static const struct {
        const char *scheme;
        enum address_protocol protocol;
    } known[] = {
        {"PLAINTEXT://", ADDRESS_PROTOCOL_PLAIN},
        {"SASL_PLAINTEXT://", ADDRESS_PROTOCOL_PLAIN},
        {"SSL://", ADDRESS_PROTOCOL_TLS},
        {"SASL_SSL://", ADDRESS_PROTOCOL_TLS},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t scheme = strlen(known[i].scheme);
        if (*size < scheme || strncasecmp(*text, known[i].scheme, scheme) != 0)
            continue;
        if (*protocol != ADDRESS_PROTOCOL_NONE && *protocol != known[i].protocol)
            return "the brokers of one cluster must all speak TLS or all speak plaintext";
        *text += scheme;
        *size -= scheme;
        *protocol = known[i].protocol;
        return NULL;
    }
    return NULL;
}

const char *address_parse_cluster(const char *text, struct address_cluster *out)
{
    const char *error = take_name(&text, ADDRESS_DEFAULT_CLUSTER, out->name);

    out->count = 0;
    out->protocol = ADDRESS_PROTOCOL_NONE;
    while (!error) {
        size_t size = strcspn(text, ",");
        size_t broker_size = size;
        const char *broker = secret_trim(text, &broker_size);

        if (broker_size == 0)
            return "a broker's address is missing: write HOST:PORT,HOST:PORT";
        if (out->count == ADDRESS_BROKERS_MAX)
            return "more than 64 bootstrap brokers";
        error = take_protocol(&broker, &broker_size, &out->protocol);
        if (!error)
            error = parse_dialled(broker, broker_size, &out->brokers[out->count++]);
        if (text[size] == '\0')
            break;
        text += size + 1;
    }
    return error;
}

const char *address_parse_ports(const char *text, struct address_named_ports *out)
{
    const char *error = take_name(&text, ADDRESS_DEFAULT_CLUSTER, out->name);
    size_t size = strcspn(text, "-");
    struct address_ports *ports = &out->ports;

    if (!error)
        error = address_parse_port(text, size, &ports->first);
    if (error)
        return error;
    if (ports->first == 0)
        return "port 0 cannot be in a range: give the first port";
    if (text[size] == '-') {
        error = address_parse_port(text + size + 1, strlen(text + size + 1), &ports->last);
        return error                        ? error
               : ports->last < ports->first ? "the last port is below the first"
                                            : NULL;
    }
    ports->last = ports->first > UINT16_MAX - (ADDRESS_NODE_PORTS - 1)
                      ? UINT16_MAX
                      : (uint16_t)(ports->first + (ADDRESS_NODE_PORTS - 1));
    return NULL;
}

const char *address_parse_told_host(const char *text, char host[ADDRESS_HOST_MAX + 1])
{
    size_t size = strlen(text);
    const char *error;

    if (size >= 2 && text[0] == '[' && text[size - 1] == ']')
        error = address_parse_ipv6(text + 1, size - 2, host);
    else if (address_parse_ipv6(text, size, host) == NULL)
        error = NULL;
    else if (strchr(text, ':'))
        error = "give a host only, without a port";
    else
        error = address_parse_host(text, size, host);
    if (!error && (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0))
        error = "nobody can connect to that address: give one that clients can reach";
    return error;
}
