#include "brokers/failures.h"

#include <stdio.h>
#include <string.h>

void failures_add(struct failures *failures, const struct address *broker, const char *why)
{
    char address[ADDRESS_TEXT_MAX];
    char *end = failures->text + strlen(failures->text);
    const char *separator = failures->count > 0 ? "; " : "";
    size_t alike = strlen(failures->why);

    if (alike > 0 && strcmp(why, failures->why) == 0) {
        end -= alike + strlen(": ");
        separator = ", ";
    }
    size_t room = (size_t)(failures->text + sizeof failures->text - end);
    address_format(broker->host, broker->port, address);
    int size = snprintf(end, room, "%s%s: %s", separator, address, why);
    snprintf(failures->why, sizeof failures->why, "%s", (size_t)size < room ? why : "");
    failures->count++;
}
