#include "config/address_rules.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};   /* ::ffff:0:0/96 */
static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b}; /* RFC 6052 */
static const uint8_t compatible[12] = {0};                      /* RFC 4291, 2.5.5.1 */

/* Where no service of others is. */
static const struct range {
    const char *name;
    uint8_t base[16];
    unsigned bits;
    bool loopback;
} ranges[] = {
    {"unspecified", {0}, 128, false},
    {"unspecified", {[10] = 0xff, 0xff, 0}, 96 + 8, false},
    {"loopback", {[15] = 1}, 128, true},
    {"loopback", {[10] = 0xff, 0xff, 127}, 96 + 8, true},
    {"link-local", {0xfe, 0x80}, 10, false},
    {"link-local", {[10] = 0xff, 0xff, 169, 254}, 96 + 16, false},
    {"multicast", {0xff}, 8, false},
    {"multicast", {[10] = 0xff, 0xff, 224}, 96 + 4, false},
    {"broadcast", {[10] = 0xff, 0xff, 255, 255, 255, 255}, 128, false},
};

static bool share_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned rest = bits % 8;

    return memcmp(a, b, bits / 8) == 0 &&
           (rest == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - rest)) == 0);
}

static bool is_ipv4_mapped(const struct address_ip *ip)
{
    return memcmp(ip->bytes, mapped, sizeof mapped) == 0;
}

/* The IPv4 address that an IPv6 address stands for on the way, as a mapped one. */
static bool find_embedded_ipv4(const struct address_ip *ip, struct address_ip *ipv4)
{
    static const uint8_t low[3] = {0};
    bool holds = memcmp(ip->bytes, translated, sizeof translated) == 0 ||
                 (memcmp(ip->bytes, compatible, sizeof compatible) == 0 &&
                  memcmp(ip->bytes + 12, low, sizeof low) != 0);

    if (holds) {
        memcpy(ipv4->bytes, mapped, sizeof mapped);
        memcpy(ipv4->bytes + 12, ip->bytes + 12, 4);
    }
    return holds;
}

static const char *parse_name_rule(const char *text, struct address_rule *out)
{
    out->is_name = true;
    out->below = strncmp(text, "*.", 2) == 0;
    text += out->below ? 2 : 0;
    size_t size = address_host_size(text);
    if (strchr(text, '*'))
        return "a * may only replace the part before the first dot, as in *.example.com";
    if (strspn(text, "0123456789.") >= size && size > 0)
        return "it is not an IPv4 address, and a host name cannot consist of digits only";
    return address_parse_host(text, size, out->name);
}

static const char *parse_network_bits(const char *text, unsigned max, unsigned *bits)
{
    uint16_t value;

    if (address_parse_port(text, strlen(text), &value) || value > max)
        return "the number after the / is not a valid prefix length";
    *bits = value;
    return NULL;
}

const char *address_rule_parse(const char *text, struct address_rule *out)
{
    char ip[INET6_ADDRSTRLEN + 2];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    const char *error = NULL;

    memset(out, 0, sizeof *out);
    out->text = text;
    if (strpbrk(text, ", "))
        return "give the option once for each network or name";
    if (size > 1 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    if (size < sizeof ip) {
        memcpy(ip, text, size);
        ip[size] = '\0';
        if (inet_pton(AF_INET, ip, out->base + 12) == 1) {
            memcpy(out->base, mapped, sizeof mapped);
            out->bits = 32;
            out->ipv4 = true;
            return slash ? parse_network_bits(slash + 1, 32, &out->bits) : NULL;
        }
        if (inet_pton(AF_INET6, ip, out->base) == 1) {
            out->bits = 128;
            error = slash ? parse_network_bits(slash + 1, 128, &out->bits) : NULL;
            if (!error && out->bits >= 96 && memcmp(out->base, mapped, sizeof mapped) == 0) {
                out->bits -= 96;
                out->ipv4 = true;
            }
            return error;
        }
    }
    if (slash)
        return "the text before the / is not an IP address";
    return parse_name_rule(out->text, out);
}

static bool name_rule_matches(const struct address_rule *rule, const char *host)
{
    size_t size = address_host_size(host);
    size_t named = strlen(rule->name);

    if (!rule->below)
        return size == named && strncasecmp(host, rule->name, size) == 0;
    return size > named + 1 && host[size - named - 1] == '.' &&
           strncasecmp(host + size - named, rule->name, named) == 0;
}

static bool network_rule_matches(const struct address_rule *rule, const struct address_ip *ip)
{
    return rule->ipv4 == is_ipv4_mapped(ip) &&
           share_bits(rule->base, ip->bytes, rule->bits + (rule->ipv4 ? 96 : 0));
}

static const struct range *find_special_range(const struct address_ip *ip)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (share_bits(ranges[i].base, ip->bytes, ranges[i].bits))
            return &ranges[i];
    return NULL;
}

enum address_verdict address_rules_judge(const struct address_rules *rules, const char *host,
                                         const struct address_ip *ip, bool loopback,
                                         const char **rule)
{
    struct address_ip ipv4;
    bool embedded = find_embedded_ipv4(ip, &ipv4);
    bool listed = rules->allow_count == 0;

    for (size_t i = 0; i < rules->deny_count; i++) {
        const struct address_rule *deny = &rules->deny[i];
        if (deny->is_name ? name_rule_matches(deny, host)
                          : network_rule_matches(deny, ip) ||
                                (embedded && network_rule_matches(deny, &ipv4))) {
            *rule = deny->text;
            return ADDRESS_DENIED;
        }
    }
    for (size_t i = 0; i < rules->allow_count; i++) {
        const struct address_rule *allow = &rules->allow[i];
        /* A network is meant, whatever is in it; a name may lead anywhere. */
        if (!allow->is_name && network_rule_matches(allow, ip))
            return ADDRESS_ALLOWED;
        listed |= allow->is_name && name_rule_matches(allow, host);
    }
    if (!listed)
        return ADDRESS_UNLISTED;
    const struct range *range = find_special_range(ip);
    if (!range && embedded)
        range = find_special_range(&ipv4);
    if (!range || (range->loopback && loopback))
        return ADDRESS_ALLOWED;
    *rule = range->name;
    return ADDRESS_SPECIAL;
}
