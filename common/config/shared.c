#include "config/shared.h"

const char *const shared_log_formats[] = {"text", "json", NULL};
const char *const shared_log_levels[] = {"error", "warning", "info", "debug", NULL};
