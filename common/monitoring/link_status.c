#include "monitoring/link_status.h"

static void put_path(const struct link *link, struct json_writer *json)
{
    const struct path_sample path = link_path(link);

    json_put_u64(json, "rate", path.rate);
    json_put_bool(json, "rate_is_least", path.rate_is_least);
    json_put_u64(json, "unsent", path.unsent);
    json_put_u64(json, "unacknowledged", path.unacknowledged);
    json_put_u64(json, "retransmitted_segments", path.retransmitted_segments);
}

void link_status_put(const struct link *link, uint64_t now_us, struct json_writer *json)
{
    const struct mux_link *mux = link_mux(link);
    struct mux_link_facts facts = {0};

    if (mux)
        facts = mux_link_facts(mux);
    json_put_u64(json, "number", mux ? mux_link_attempt(mux) : 0);
    json_put_string(json, "role", facts.up ? link_role_name(link_role(mux)) : "greeting");
    json_put_u64(json, "age_ms", (now_us - link_since_us(link)) / 1000);
    json_put_u64(json, "rtt_us", facts.rtt_us);
    json_put_u64(json, "rtt_age_ms", facts.rtt_us > 0 ? (now_us - facts.rtt_at_us) / 1000 : 0);
    json_put_u64(json, "in_flight", facts.in_flight);
    json_put_u64(json, "carried", facts.progress);
    json_put_u64(json, "sent_again", facts.sent_again);
    put_path(link, json);
}
