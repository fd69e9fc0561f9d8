/*
 * Which ports the kernel gives to outgoing connections. A listener on one of them finds it taken
 * whenever a connection of any program has just got it (Linux: ip-sysctl, ip_local_port_range and
 * ip_local_reserved_ports; elsewhere RFC 6335, section 6, which macOS follows).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* "32768-60999", with its end. */
#define OUTGOING_PORTS_TEXT 12

/* Whether some port from first to last may go to an outgoing connection; then range has the
 * kernel's. false also where the system does not tell. */
bool outgoing_ports_meet(uint16_t first, uint16_t last, char range[OUTGOING_PORTS_TEXT]);

/* The same of settings as Linux writes them: "32768\t60999" and "8080,40000-40100". */
bool outgoing_ports_meet_settings(const char *local_range, const char *reserved, uint16_t first,
                                  uint16_t last, char range[OUTGOING_PORTS_TEXT]);
