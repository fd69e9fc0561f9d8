#include "config/shared.h"

const char *const shared_log_formats[] = {"text", "json", NULL};
const char *const shared_tls_versions[] = {"1.2", "1.3", NULL};
const char *const shared_log_levels[] = {"error", "warning", "info", "debug", NULL};

bool shared_check_passphrase(const char *key_option, const char *key, const char *passphrase,
                             const char *passphrase_file, char *error, size_t size)
{
    char option[CONFIG_VARIABLE_MAX];
    char variable[CONFIG_VARIABLE_MAX];

    if (!passphrase && !passphrase_file)
        return true;
    snprintf(option, sizeof option, "%s-passphrase", key_option);
    config_variable(option, variable);
    if (!key) {
        snprintf(error, size, "--%s%s has no effect without --%s", option,
                 passphrase_file ? "-file" : "", key_option);
        return false;
    }
    if (passphrase && passphrase_file) {
        snprintf(error, size, "--%s (%s) and --%s-file cannot be used together: choose one", option,
                 variable, option);
        return false;
    }
    return true;
}
