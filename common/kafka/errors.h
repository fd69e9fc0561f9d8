/* Error codes of Kafka (clients/.../protocol/Errors.java) that the guard answers with. */
#pragma once

enum kafka_error {
    KAFKA_TOPIC_AUTHORIZATION_FAILED = 29,
    KAFKA_GROUP_AUTHORIZATION_FAILED = 30,
    KAFKA_CLUSTER_AUTHORIZATION_FAILED = 31,
    KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
    KAFKA_FETCH_SESSION_ID_NOT_FOUND = 70, /* clients begin another session */
    KAFKA_UNKNOWN_TOPIC_ID = 100,          /* clients ask for Metadata, and come again */
    KAFKA_SHARE_SESSION_NOT_FOUND = 122,   /* clients begin another session */
};
