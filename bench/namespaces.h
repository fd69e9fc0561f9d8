#pragma once
/*
 * Two network namespaces with nothing in them but loopback and a tun device each, and no way out of
 * them but through these. For root. Functions that fail say so on stderr, with the reason.
 */
#include "flows.h"

enum { NAMESPACES_NAME = 64 };

struct namespaces {
    char names[FLOW_ENDS][NAMESPACES_NAME]; /* as for `ip netns exec` */
    int tun[FLOW_ENDS];                     /* non-blocking; one IPv4 packet a read or write */
    int keeper_pipe;                        /* open as long as the namespaces are to be there */
    int keeper;                             /* the process that deletes them */
};

/* The devices' addresses are of the network that RFC 2544 set aside for measurements. */
extern const char *const namespaces_address[FLOW_ENDS];

/* prefix: of the namespaces' names. A process of their own deletes them when this one is gone,
 * however it ends. 0, or -1. */
int namespaces_make(struct namespaces *namespaces, const char *prefix);

/* Deletes them, also after namespaces_make() has failed; what runs in them goes on without a way
 * out. */
void namespaces_delete(struct namespaces *namespaces);

/* TCP's congestion control in both. 0, or -1: the kernel has none of that name, or
 * net.ipv4.tcp_allowed_congestion_control does not name it. */
int namespaces_use_congestion_control(const struct namespaces *namespaces, const char *name);
