#include "doctor/listener_check.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "io/socket.h"
#include "listeners/local_port.h"

enum { SOON_S = 14 * 24 * 3600, HOSTS_SHOWN = 300 };

#define ADD(check, verdict, ...)                                                                   \
    diagnosis_add((check)->diagnosis, LAYER_LISTENER, (verdict), -1, __VA_ARGS__)

static bool uses_local_ca(const struct listener_check *check)
{
    return !check->options->listener_tls_cert;
}

/* ---- the certificate of a file */

static void check_dates(const struct listener_check *check, const X509 *certificate)
{
    const char *file = check->options->listener_tls_cert;
    struct tls_certificate_text text;
    time_t now = time(NULL);

    tls_certificate_describe(certificate, &text);
    if (tls_has_expired(certificate, now))
        ADD(check, VERDICT_FAILED,
            "the certificate in %s (--listener-tls-cert; %s) expired on %s: Kafka clients refuse "
            "it; put a new one there, which running listeners take by themselves",
            file, text.subject, text.until);
    else if (!tls_certificate_is_current(certificate))
        ADD(check, VERDICT_FAILED,
            "the certificate in %s (--listener-tls-cert; %s) is valid only from %s on, by this "
            "machine's clock: Kafka clients refuse it until then",
            file, text.subject, text.from);
    else if (tls_has_expired(certificate, now + SOON_S))
        ADD(check, VERDICT_WARNING,
            "the certificate in %s (--listener-tls-cert; %s) expires soon, on %s: Kafka clients "
            "refuse it then",
            file, text.subject, text.until);
}

/* Where Kafka clients are sent for a cluster's brokers. */
static const char *told_host(const struct options *options, size_t cluster)
{
    const char *host = options->clusters[cluster].address.host;

    if (options->advertise_host[0])
        return options->advertise_host;
    return strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1" : strcmp(host, "::") == 0 ? "::1" : host;
}

/* Several clusters may be told at one host: the first one stands for all. */
static bool is_first_there(const struct options *options, size_t cluster)
{
    for (size_t i = 0; i < cluster; i++)
        if (!options->cluster_keeps_names[i] &&
            strcmp(told_host(options, i), told_host(options, cluster)) == 0)
            return false;
    return true;
}

static void check_hosts(const struct listener_check *check, X509 *certificate)
{
    const struct options *options = check->options;
    char hosts[HOSTS_SHOWN];

    tls_certificate_hosts(certificate, hosts, sizeof hosts);
    for (size_t i = 0; i < options->cluster_count; i++) {
        const char *told = told_host(options, i);
        if (options->cluster_keeps_names[i] || !is_first_there(options, i))
            continue;
        if (!tls_certificate_is_for(certificate, told))
            ADD(check, VERDICT_FAILED,
                "Kafka clients find brokers at %s, which the certificate in %s does not name (it "
                "is for %s): they refuse it; use one that names %s, or give --advertise a host "
                "that it names",
                told, options->listener_tls_cert, hosts[0] ? hosts : "no host", told);
        else if (strcmp(told, "127.0.0.1") == 0 &&
                 !tls_certificate_is_for(certificate, "localhost"))
            ADD(check, VERDICT_NOTE,
                "the certificate in %s does not name localhost: let bootstrap.servers say %s",
                options->listener_tls_cert, told);
    }
}

/* ---- brokers' names that are kept */

static bool is_certified(const struct listener_check *check, const char *name)
{
    const struct tls_authority_names one = {&name, 1};

    return uses_local_ca(check) ? !tls_authority_lacks(&check->ca.authority, &one)
                                : tls_certificate_is_for(check->files->certificate, name);
}

static void check_kept_names(const struct listener_check *check,
                             const struct tls_authority_names *names)
{
    char lacking[HOSTS_SHOWN] = "";
    size_t fill = 0;

    for (size_t i = 0; i < names->count && fill < sizeof lacking; i++)
        if (!is_certified(check, names->names[i]))
            fill += (size_t)snprintf(lacking + fill, sizeof lacking - fill, "%s%s",
                                     fill > 0 ? ", " : "", names->names[i]);
    if (lacking[0])
        ADD(check, VERDICT_FAILED,
            "the listeners' certificate cannot have the names of brokers that are kept (%s), so "
            "Kafka clients with TLS refuse it: %s",
            lacking,
            uses_local_ca(check)
                ? "give the names, or their domain, to --listener-name, with a new --state-dir"
                : "use a certificate that names them (--listener-tls-cert)");
}

/* ---- what clients are shown */

static void describe_file(const struct listener_check *check)
{
    struct tls_certificate_text text;
    char hosts[HOSTS_SHOWN];

    tls_certificate_describe(check->files->certificate, &text);
    tls_certificate_hosts(check->files->certificate, hosts, sizeof hosts);
    ADD(check, VERDICT_OK,
        "Kafka clients are shown %s, issued by %s, valid until %s, for %s (--listener-tls-cert)",
        text.subject, text.issuer, text.until, hosts[0] ? hosts : "no host");
    check_dates(check, check->files->certificate);
    check_hosts(check, check->files->certificate);
}

/* false: there is no CA yet, or it cannot be used. */
static bool describe_local_ca(struct listener_check *check)
{
    const struct listener_tls_settings settings = options_listener_tls(check->options);
    struct tls_certificate_text text;
    char file[PATH_MAX];
    char error[1300];
    char hosts[HOSTS_SHOWN];

    if (!local_ca_is_there(settings.state_directory, file)) {
        ADD(check, VERDICT_NOTE,
            "there is no local CA for --listener-tls yet: tunnel-client makes %s when it starts, "
            "and `tunnel-client listener-ca` says how Kafka clients trust it",
            file);
        return false;
    }
    if (!local_ca_open(&check->ca, settings.state_directory, &settings.names, time(NULL), error,
                       sizeof error)) {
        ADD(check, VERDICT_FAILED, "%s", error);
        return false;
    }
    tls_certificate_describe(check->ca.authority.certificate, &text);
    tls_authority_describe(&check->ca.authority, hosts, sizeof hosts);
    ADD(check, VERDICT_OK,
        "Kafka clients are shown certificates of the local CA in %s, valid until %s, which vouches "
        "for %s",
        check->ca.file, text.until, hosts);
    return true;
}

/* ---- whom clients' certificates are from */

static void check_client_authorities(const struct listener_check *check)
{
    const struct tls_material *files = check->files;
    struct tls_certificate_text text;

    for (int i = 0; i < sk_X509_num(files->authorities); i++) {
        const X509 *authority = sk_X509_value(files->authorities, i);
        if (!tls_has_expired(authority, time(NULL)))
            continue;
        tls_certificate_describe(authority, &text);
        ADD(check, VERDICT_WARNING,
            "%s in %s (--listener-client-ca) expired on %s: clients whose certificate it has "
            "signed are refused",
            text.subject, check->options->listener_client_ca, text.until);
    }
    if (files->revoked && tls_material_revoked_is_old(files))
        ADD(check, VERDICT_WARNING,
            "a list in %s (--listener-client-crl) says that there is a newer one by now",
            check->options->listener_client_crl);
}

/* ---- without TLS */

static void warn_in_clear(const struct listener_check *check)
{
    const struct options *options = check->options;

    for (size_t i = 0; i < options->cluster_count; i++) {
        const char *host = options->clusters[i].address.host;
        struct socket_address address;
        if (options->listener_tls == LISTENER_TLS_UNSET && socket_parse(host, 0, &address) &&
            !socket_is_loopback(&address))
            ADD(check, VERDICT_WARNING,
                "%s for %s takes Kafka's connections, passwords included, unencrypted from other "
                "machines: --listener-tls auto changes that; --listener-tls off says that it is "
                "meant",
                host, options->clusters[i].name);
    }
}

/* ---- all of it */

/* NULL: no listener can use them, and error says why. */
static struct tls_material *read_files(const struct tls_files *files, struct tls_error *error)
{
    struct tls_material *material = tls_material_read(files, NULL, error);
    SSL_CTX *context = NULL;

    if (!material || !material->certificate)
        return material;
    context = tls_listener_context(material, false, error);
    if (context) {
        SSL_CTX_free(context);
        return material;
    }
    tls_material_free(material);
    return NULL;
}

void listener_check_begin(struct listener_check *check, struct diagnosis *diagnosis,
                          const struct options *options, const struct tls_authority_names *names)
{
    const struct listener_tls_settings settings = options_listener_tls(options);
    struct tls_error error;

    *check = (struct listener_check){.diagnosis = diagnosis, .options = options};
    if (options->listener_tls_mode == LISTENER_TLS_OFF || options->cluster_count == 0) {
        warn_in_clear(check);
        return;
    }
    check->files = read_files(&settings.files, &error);
    if (!check->files)
        ADD(check, VERDICT_FAILED, "%s", error.text);
    else
        check_client_authorities(check);
    bool shows = uses_local_ca(check) ? describe_local_ca(check) : check->files != NULL;
    if (!shows)
        return;
    if (!uses_local_ca(check))
        describe_file(check);
    check_kept_names(check, names);
}

void listener_check_clear(struct listener_check *check)
{
    tls_material_free(check->files);
    tls_authority_clear(&check->ca.authority);
}

const char *listener_check_takes(const struct listener_check *check, const char *host)
{
    bool asks = check->options->listener_client_ca != NULL;

    switch (listener_security_at(check->options->listener_tls_mode, host)) {
    case LISTENER_EITHER:
        return asks ? "; it takes plaintext and TLS, and of certificates that clients show only "
                      "those of --listener-client-ca"
                    : "; it takes plaintext and TLS";
    case LISTENER_SECURE:
        return asks ? "; it takes only TLS, with a client certificate of --listener-client-ca"
                    : "; it takes only TLS";
    default:
        return "";
    }
}

static bool is_ours(const struct listener_check *check, X509 *shown)
{
    if (!uses_local_ca(check))
        return check->files && X509_cmp(shown, check->files->certificate) == 0;
    return check->ca.authority.key && X509_verify(shown, check->ca.authority.key) == 1;
}

enum listener_shown listener_check_look(const struct listener_check *check, const char *host,
                                        uint16_t port, char *text, size_t size)
{
    X509 *shown = local_port_certificate(host, port);
    struct tls_certificate_text words;

    snprintf(text, size, "none");
    if (!shown)
        return LISTENER_SHOWN_NOTHING;
    tls_certificate_describe(shown, &words);
    snprintf(text, size, "%s, issued by %s, valid until %s", words.subject, words.issuer,
             words.until);
    enum listener_shown found = is_ours(check, shown) ? LISTENER_SHOWN_OURS : LISTENER_SHOWN_OTHER;
    X509_free(shown);
    return found;
}
