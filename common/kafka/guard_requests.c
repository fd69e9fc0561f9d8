#include "kafka/guard_requests.h"

#include "kafka/addresses.h"
#include "kafka/api.h"
#include "kafka/errors.h"
#include "kafka/wire.h"

#include <stdio.h>
#include <string.h>

enum { FIRST_WITH_TYPE_BEFORE_KEYS = 4 };
enum { KEY_GROUP = 0, KEY_TRANSACTION = 1, KEY_SHARE = 2 };
enum { CONFIG_TOPIC = 2, CONFIG_GROUP = 32 };
/* org.apache.kafka.common.resource.ResourceType and PatternType */
enum { ACL_ANY = 1, ACL_TOPIC = 2, ACL_GROUP = 3, ACL_TRANSACTIONAL_ID = 5, ACL_LITERAL = 3 };

#define ROLE(name) (UINT32_C(1) << KAFKA_ROLE_##name)
#define ACL_ROLES (ROLE(ACL_TYPE) | ROLE(ACL_NAME) | ROLE(ACL_PATTERN))

static const uint32_t roles_of[KAFKA_RESOURCES] = {
    [KAFKA_TOPIC] = ROLE(TOPIC_NAME) | ROLE(TOPIC_ID) | ROLE(REGEX) | ROLE(RESOURCE_NAME) |
                    ROLE(SESSION_EPOCH) | ACL_ROLES,
    [KAFKA_GROUP] = ROLE(GROUP) | ROLE(KEY) | ROLE(KEY_TYPE) | ROLE(RESOURCE_NAME) | ACL_ROLES,
    [KAFKA_TRANSACTIONAL_ID] = ROLE(TRANSACTIONAL_ID) | ROLE(KEY) | ROLE(KEY_TYPE) | ACL_ROLES,
};

static const uint8_t kind_of[KAFKA_RESOURCES + 1] = {
    [KAFKA_TOPIC] = KAFKA_DENIAL_TOPIC,
    [KAFKA_GROUP] = KAFKA_DENIAL_GROUP,
    [KAFKA_TRANSACTIONAL_ID] = KAFKA_DENIAL_TRANSACTIONAL_ID,
    [KAFKA_RESOURCES] = KAFKA_DENIAL_CLUSTER,
};

static bool checks(const struct kafka_guard_requests *g, enum kafka_resource resource)
{
    return resource < KAFKA_RESOURCES && (g->checks >> resource & 1) != 0;
}

/* ---- what a field names */

static enum kafka_resource resource_of(enum kafka_role role, int8_t type)
{
    switch (role) {
    case KAFKA_ROLE_TOPIC_NAME:
    case KAFKA_ROLE_TOPIC_ID:
    case KAFKA_ROLE_REGEX:
    case KAFKA_ROLE_CREATED_TOPIC:
        return KAFKA_TOPIC;
    case KAFKA_ROLE_GROUP:
        return KAFKA_GROUP;
    case KAFKA_ROLE_TRANSACTIONAL_ID:
        return KAFKA_TRANSACTIONAL_ID;
    case KAFKA_ROLE_KEY:
        return type == KEY_TRANSACTION ? KAFKA_TRANSACTIONAL_ID : KAFKA_GROUP;
    case KAFKA_ROLE_RESOURCE_NAME:
        return type == CONFIG_TOPIC   ? KAFKA_TOPIC
               : type == CONFIG_GROUP ? KAFKA_GROUP
                                      : KAFKA_RESOURCES;
    case KAFKA_ROLE_ACL_NAME:
    case KAFKA_ROLE_ACL_PATTERN:
        return type == ACL_TOPIC              ? KAFKA_TOPIC
               : type == ACL_GROUP            ? KAFKA_GROUP
               : type == ACL_TRANSACTIONAL_ID ? KAFKA_TRANSACTIONAL_ID
                                              : KAFKA_RESOURCES;
    default:
        return KAFKA_RESOURCES;
    }
}

int16_t kafka_guard_code(unsigned kind)
{
    static const int16_t codes[KAFKA_DENIAL_KINDS] = {
        [KAFKA_DENIAL_CLUSTER] = KAFKA_CLUSTER_AUTHORIZATION_FAILED,
        [KAFKA_DENIAL_TOPIC] = KAFKA_TOPIC_AUTHORIZATION_FAILED,
        [KAFKA_DENIAL_GROUP] = KAFKA_GROUP_AUTHORIZATION_FAILED,
        [KAFKA_DENIAL_TRANSACTIONAL_ID] = KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        [KAFKA_DENIAL_SESSION] = KAFKA_FETCH_SESSION_ID_NOT_FOUND,
        [KAFKA_DENIAL_SHARE_SESSION] = KAFKA_SHARE_SESSION_NOT_FOUND,
    };

    return codes[kind];
}

static int16_t error_of(enum kafka_resource resource)
{
    return kafka_guard_code(kind_of[resource]);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static int16_t judge_topic_id(const struct kafka_guard_requests *g, const uint8_t *id)
{
    size_t size;
    const char *name;

    if (is_zero(id, KAFKA_TOPIC_ID_SIZE))
        return 0; /* the name says which */
    name = g->guard->topic(g->context, id, &size);
    if (!name)
        return KAFKA_UNKNOWN_TOPIC_ID;
    return g->guard->resource(g->context, g->request.api_key, KAFKA_TOPIC, name, size)
               ? 0
               : KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

int16_t kafka_guard_judge(const struct kafka_guard_requests *g, enum kafka_role role,
                          const uint8_t *bytes, size_t size, int8_t type)
{
    enum kafka_resource resource = resource_of(role, type);

    if (g->by_api)
        return resource == KAFKA_RESOURCES && role != KAFKA_ROLE_RESOURCE_NAME ? 0
                                                                               : error_of(resource);
    if (role == KAFKA_ROLE_CREATED_TOPIC && bytes &&
        !g->guard->resource(g->context, KAFKA_GUARD_CREATE_TOPICS, KAFKA_TOPIC, (const char *)bytes,
                            size))
        return error_of(KAFKA_TOPIC);
    if (!bytes || !checks(g, resource))
        return 0;
    if (role == KAFKA_ROLE_TOPIC_ID)
        return judge_topic_id(g, bytes);
    /* What it would match, only the broker knows. */
    if (role == KAFKA_ROLE_REGEX)
        return size > 0 ? KAFKA_TOPIC_AUTHORIZATION_FAILED : 0;
    if (role == KAFKA_ROLE_KEY && type == KEY_SHARE) {
        const uint8_t *colon = memchr(bytes, ':', size);
        size = colon ? (size_t)(colon - bytes) : size;
    }
    return g->guard->resource(g->context, g->request.api_key, resource, (const char *)bytes, size)
               ? 0
               : error_of(resource);
}

/* ---- looking */

static void keep_name(struct kafka_guard_requests *g, enum kafka_role role, const uint8_t *bytes,
                      size_t size)
{
    size_t at = 0;
    const char *name;

    if (role == KAFKA_ROLE_TOPIC_ID) {
        name = g->guard->topic(g->context, bytes, &size);
        bytes = (const uint8_t *)name;
        if (!name)
            size = 0;
    }
    for (; at < size && at < KAFKA_GUARD_NAME; at++)
        g->name[at] = kafka_wire_plain(bytes[at]);
    g->name[at] = '\0';
}

static int deny_api(struct kafka_guard_requests *g, uint8_t kind)
{
    g->denied = g->by_api = true;
    g->kind = kind;
    g->resource = KAFKA_RESOURCES;
    return KAFKA_GUARD_DENIED;
}

static void judge_field(struct kafka_guard_requests *g, enum kafka_role role, const uint8_t *bytes,
                        size_t size)
{
    enum kafka_resource resource = resource_of(role, g->type);

    if (bytes && resource < KAFKA_RESOURCES)
        g->named |= 1u << resource;
    if (g->denied || kafka_guard_judge(g, role, bytes, size, g->type) == 0)
        return;
    g->denied = true;
    g->resource = resource;
    g->kind = kind_of[resource];
    keep_name(g, role, bytes, size);
}

void kafka_guard_note_topic(struct kafka_guard_requests *g, const uint8_t *name, size_t size)
{
    g->denied = true;
    g->resource = KAFKA_TOPIC;
    g->kind = KAFKA_DENIAL_TOPIC;
    keep_name(g, KAFKA_ROLE_TOPIC_NAME, name, size);
}

static void judge_pending(struct kafka_guard_requests *g)
{
    if (g->pending)
        judge_field(g, KAFKA_ROLE_KEY, g->key, g->key_size);
    g->pending = false;
}

static bool knows_session(const struct kafka_guard_requests *g, int32_t session)
{
    for (unsigned i = 0; i < g->session_count && i < KAFKA_GUARD_SESSIONS; i++)
        if (g->sessions[i] == session)
            return true;
    return false;
}

static bool knows_share(const struct kafka_guard_requests *g, uint64_t share)
{
    for (unsigned i = 0; i < g->share_count && i < KAFKA_GUARD_SESSIONS; i++)
        if (g->shares[i] == share)
            return true;
    return false;
}

/* Only the client that has begun a session knows what is in it, or one that guesses its id. */
static void judge_session(struct kafka_guard_requests *g, int32_t epoch)
{
    if (g->session == 0 || epoch <= 0 || !checks(g, KAFKA_TOPIC) || g->denied ||
        knows_session(g, g->session))
        return;
    g->denied = true;
    g->kind = KAFKA_DENIAL_SESSION;
    g->resource = KAFKA_TOPIC;
}

/* Whoever knows a member's id could go on with its session. */
static void judge_share(struct kafka_guard_requests *g, int32_t epoch)
{
    if (epoch == 0)
        g->begins = g->share;
    if (epoch <= 0 || !checks(g, KAFKA_TOPIC) || g->denied || knows_share(g, g->share))
        return;
    g->denied = true;
    g->kind = KAFKA_DENIAL_SHARE_SESSION;
    g->resource = KAFKA_TOPIC;
}

static bool is_share(int16_t key)
{
    return key == KAFKA_KEY_SHARE_FETCH || key == KAFKA_KEY_SHARE_ACKNOWLEDGE;
}

/* The group's name comes, and then the member's. */
static void note_share(struct kafka_guard_requests *g, const uint8_t *bytes, size_t size)
{
    const uint64_t both[2] = {g->share, bytes ? hash_bytes(g->hash_key, bytes, size) : 0};

    g->share = hash_bytes(g->hash_key, both, sizeof both) | 1;
}

/* ---- ACLs, which are of a name, of a prefix, or of all */

static void deny_acl(struct kafka_guard_requests *g, enum kafka_role role, const uint8_t *bytes,
                     size_t size)
{
    if (g->denied)
        return;
    g->denied = true;
    g->kind = KAFKA_DENIAL_CLUSTER;
    g->resource = resource_of(role, g->type);
    keep_name(g, role, bytes, size);
}

static void judge_acl(struct kafka_guard_requests *g, enum kafka_role role, const uint8_t *bytes,
                      size_t size)
{
    bool limited = checks(g, resource_of(role, g->type));

    switch (role) {
    case KAFKA_ROLE_ACL_TYPE:
        g->type = (int8_t)bytes[0];
        if (g->type == ACL_ANY && g->checks != 0)
            deny_acl(g, role, NULL, 0);
        return;
    case KAFKA_ROLE_ACL_PATTERN:
        if (limited && bytes[0] != ACL_LITERAL)
            deny_acl(g, role, NULL, 0);
        return;
    default:
        if (limited && (!bytes || (size == 1 && bytes[0] == '*') ||
                        kafka_guard_judge(g, role, bytes, size, g->type) != 0))
            deny_acl(g, role, bytes, size);
    }
}

/* Followers read beyond what is committed, and what they read moves that on. */
static void judge_replica(struct kafka_guard_requests *g, int32_t id)
{
    enum { CONSUMER = -1, DEBUGGING_CONSUMER = -2 };

    if (id == CONSUMER || id == DEBUGGING_CONSUMER || g->denied)
        return;
    deny_api(g, g->shapes->denial);
    snprintf(g->name, sizeof g->name, "replica %d", (int)id);
}

static void judge_any(struct kafka_guard_requests *g, enum kafka_role role, const uint8_t *bytes,
                      size_t size)
{
    switch (role) {
    case KAFKA_ROLE_KEY_TYPE:
        g->type = (int8_t)bytes[0];
        judge_pending(g);
        return;
    case KAFKA_ROLE_RESOURCE_TYPE:
        g->type = (int8_t)bytes[0];
        return;
    case KAFKA_ROLE_SESSION_ID:
        g->session = (int32_t)byte_load_u32(bytes);
        return;
    case KAFKA_ROLE_SESSION_EPOCH:
        if (is_share(g->request.api_key))
            judge_share(g, (int32_t)byte_load_u32(bytes));
        else
            judge_session(g, (int32_t)byte_load_u32(bytes));
        return;
    case KAFKA_ROLE_MEMBER:
        note_share(g, bytes, size);
        return;
    case KAFKA_ROLE_ACL_TYPE:
    case KAFKA_ROLE_ACL_NAME:
    case KAFKA_ROLE_ACL_PATTERN:
        judge_acl(g, role, bytes, size);
        return;
    case KAFKA_ROLE_REPLICA_ID:
        judge_replica(g, (int32_t)byte_load_u32(bytes));
        return;
    case KAFKA_ROLE_KEY:
        if (g->request.version < FIRST_WITH_TYPE_BEFORE_KEYS && bytes) {
            memcpy(g->key, bytes, size);
            g->key_size = size;
            g->pending = true;
            return;
        }
        break;
    case KAFKA_ROLE_GROUP:
        if (is_share(g->request.api_key))
            note_share(g, bytes, size);
        break;
    default:
        break;
    }
    judge_field(g, role, bytes, size);
}

/* What comes behind the last name is not looked at. */
static void look_at_field(void *context, enum kafka_role role, const uint8_t *bytes, size_t size)
{
    struct kafka_guard_requests *g = context;

    judge_any(g, role, bytes, size);
    g->walk.stop =
        g->denied || ((g->roles >> role & 1) != 0 && !kafka_shape_walk_expects(&g->walk, g->roles));
}

static void look_at_element(void *context, enum kafka_role role, bool begins)
{
    (void)context;
    (void)role;
    (void)begins;
}

/* A broker reads the tags that it knows without regard to their sizes, so it may find the next
 * field at another place. Those known today are of followers. */
static void look_at_tags(void *context)
{
    struct kafka_guard_requests *g = context;

    g->tagged = g->walk.stop = true;
}

static const struct kafka_shape_sink looking = {look_at_field, look_at_element, look_at_tags};

static bool is_for_login(int16_t key)
{
    return key == KAFKA_KEY_API_VERSIONS || key == KAFKA_KEY_SASL_HANDSHAKE ||
           key == KAFKA_KEY_SASL_AUTHENTICATE;
}

/* Only the broker knows whether a frame without a header is a token. One that wants no login goes
 * on with requests. */
static bool is_raw_login(const struct kafka_request *request)
{
    return request->type == KAFKA_REQUEST_TOKEN ||
           (request->api_key == KAFKA_KEY_SASL_HANDSHAKE && request->version <= 0);
}

static int close_denied(struct kafka_guard_requests *g, const char *reason)
{
    g->denied = g->by_api = true;
    g->resource = KAFKA_RESOURCES;
    g->reason = reason;
    return KAFKA_FILTER_EDENIED;
}

/* What names nothing may be about everything. */
static bool is_about_all(const struct kafka_guard_requests *g)
{
    for (unsigned i = 0; i < KAFKA_RESOURCES; i++)
        if ((g->shapes->about_all >> kind_of[i] & 1) != 0 && checks(g, (enum kafka_resource)i) &&
            (g->named >> i & 1) == 0)
            return true;
    return false;
}

static int conclude(struct kafka_guard_requests *g)
{
    if (g->tagged)
        return close_denied(g, "is denied: it has tagged fields, of which the tunnel knows none "
                               "that clients need, and --access limits what this identity may do");
    if (g->denied)
        return KAFKA_GUARD_DENIED;
    if (!g->walk.stop && !g->walk.over)
        return KAFKA_GUARD_MORE;
    judge_pending(g);
    if (g->denied)
        return KAFKA_GUARD_DENIED;
    return is_about_all(g) ? deny_api(g, g->shapes->denial) : KAFKA_GUARD_PASS;
}

/* Metadata creates topics, for whom the broker lets. */
static bool may_create_any(const struct kafka_guard_requests *g)
{
    return g->guard->api(g->context, KAFKA_GUARD_CREATE_TOPICS) &&
           !g->guard->limits(g->context, KAFKA_GUARD_CREATE_TOPICS, KAFKA_TOPIC);
}

int kafka_guard_begin(struct kafka_guard_requests *g, const struct kafka_request *request,
                      uint64_t body_size)
{
    bool open = g->guard->open(g->context);
    uint64_t generation = g->guard->generation(g->context);

    /* What is in a session was looked at under other rules. */
    if (generation != g->generation)
        g->session_count = g->share_count = 0;
    g->begins = g->share = 0;
    g->generation = generation;
    if (open)
        return KAFKA_GUARD_PASS;
    g->request = *request;
    g->checks = g->named = 0;
    g->roles = ROLE(REPLICA_ID) | ROLE(CREATED_TOPIC);
    g->type = 0;
    g->session = 0;
    g->pending = g->denied = g->by_api = g->tagged = false;
    g->name[0] = '\0';
    if (is_raw_login(request))
        return close_denied(g, "is denied: --access limits what this identity may do, so the "
                               "client must log in with SaslHandshake v1 and SaslAuthenticate");
    if (is_for_login(request->api_key))
        return g->guard->api(g->context, request->api_key)
                   ? KAFKA_GUARD_PASS
                   : close_denied(g, "is denied: --access allows this identity nothing here");
    g->shapes = kafka_shapes_find(request->api_key, request->version);
    if (!g->shapes)
        return close_denied(g, "is denied: the tunnel does not understand it, and --access "
                               "limits what this identity may do");
    if (!g->guard->api(g->context, request->api_key))
        return deny_api(g, g->shapes->denial);
    for (unsigned i = 0; i < KAFKA_RESOURCES; i++)
        if (g->guard->limits(g->context, request->api_key, (enum kafka_resource)i)) {
            g->checks |= 1u << i;
            g->roles |= roles_of[i];
        }
    if (request->api_key == KAFKA_KEY_METADATA)
        return checks(g, KAFKA_TOPIC) || !may_create_any(g) ? KAFKA_GUARD_REWRITE
                                                            : KAFKA_GUARD_PASS;
    kafka_shape_walk_start(&g->walk, g->shapes->request, request->version,
                           request->version >= g->shapes->first_flexible, body_size);
    g->walk.stop = !kafka_shape_walk_expects(&g->walk, g->roles);
    return conclude(g);
}

int kafka_guard_walk(struct kafka_guard_requests *g, const uint8_t *bytes, size_t size)
{
    enum kafka_walk_result result = kafka_shape_walk_run(&g->walk, bytes, size, &looking, g);

    if (result == KAFKA_WALK_FAILED) {
        g->reason = g->walk.taker.reason;
        return KAFKA_FILTER_EFRAME;
    }
    return conclude(g);
}

void kafka_guard_report(const struct kafka_guard_requests *g, const char *client_id)
{
    const struct kafka_denied denied = {
        .api_key = g->request.api_key,
        .version = g->request.version,
        .resource = g->resource,
        .name = g->name,
        .client_id = client_id,
    };

    g->guard->denied(g->context, &denied);
}

bool kafka_guard_is_stale(const struct kafka_guard_requests *g)
{
    return g->generation != g->guard->generation(g->context);
}

void kafka_guard_enter(const struct kafka_guard_requests *g, struct kafka_request *request)
{
    request->rules = g->generation;
    request->share = g->begins;
}

bool kafka_guard_tells_session(const struct kafka_request *request)
{
    return (request->api_key == KAFKA_KEY_FETCH && request->version >= 7) || request->share != 0;
}

static void see_share(struct kafka_guard_requests *g, uint64_t share, const uint8_t *bytes)
{
    const uint8_t *error = bytes + 1 + 4; /* tags, ThrottleTimeMs */

    if (bytes[0] == 0 && byte_load_u16(error) == 0 && !knows_share(g, share))
        g->shares[g->share_count++ % KAFKA_GUARD_SESSIONS] = share;
}

static void see_fetch_session(struct kafka_guard_requests *g, int16_t version, const uint8_t *bytes)
{
    size_t at = 4 + 2; /* ThrottleTimeMs, ErrorCode */

    if (version >= 12) {
        if (bytes[0] != 0)
            return; /* tags that no broker sends: the client begins a session each time */
        at++;
    }
    int32_t session = (int32_t)byte_load_u32(bytes + at);
    if (session != 0 && !knows_session(g, session))
        g->sessions[g->session_count++ % KAFKA_GUARD_SESSIONS] = session;
}

void kafka_guard_see_session(struct kafka_guard_requests *g, const struct kafka_request *request,
                             const uint8_t *bytes, size_t size)
{
    /* What is in the session was looked at under other rules. */
    if (size < KAFKA_GUARD_SESSION_HEAD || request->rules != g->generation ||
        kafka_guard_is_stale(g))
        return;
    if (request->share != 0)
        see_share(g, request->share, bytes);
    else
        see_fetch_session(g, request->version, bytes);
}

void kafka_guard_free(struct kafka_guard_requests *g)
{
    kafka_buffer_free(&g->collected);
}
