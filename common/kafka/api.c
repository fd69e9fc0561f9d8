#include "kafka/api.h"
#include "kafka/catalog.h"

#define NONE KAFKA_API_NONE

/* What an API is for. */
#define P KAFKA_PRODUCE
#define C KAFKA_CONSUME
#define R KAFKA_READ_ONLY
#define A KAFKA_ADMIN
#define ANY (P | C | R | A)

/* The index is the key. */
static const struct kafka_api apis[] = {
    {"Produce", 0, 9, 13, &kafka_produce_handler, P},
    {"Fetch", 1, 12, 18, &kafka_fetch_handler, C | R},
    {"ListOffsets", 2, 6, NONE, NULL, C | R | A},
    {"Metadata", 3, 9, 13, &kafka_metadata_handler, ANY},
    {"LeaderAndIsr", 4, 4, NONE, NULL, 0},
    {"StopReplica", 5, 2, NONE, NULL, 0},
    {"UpdateMetadata", 6, 6, NONE, NULL, 0},
    {"ControlledShutdown", 7, 3, NONE, NULL, 0},
    {"OffsetCommit", 8, 8, NONE, NULL, C | A},
    {"OffsetFetch", 9, 6, NONE, NULL, C | R | A},
    {"FindCoordinator", 10, 3, 6, &kafka_find_coordinator_handler, ANY},
    {"JoinGroup", 11, 6, NONE, NULL, C},
    {"Heartbeat", 12, 4, NONE, NULL, C},
    {"LeaveGroup", 13, 4, NONE, NULL, C | A},
    {"SyncGroup", 14, 4, NONE, NULL, C},
    {"DescribeGroups", 15, 5, NONE, NULL, C | R | A},
    {"ListGroups", 16, 3, NONE, NULL, R | A},
    {"SaslHandshake", 17, NONE, NONE, &kafka_sasl_handshake_handler, ANY},
    {"ApiVersions", 18, 3, NONE, &kafka_api_versions_handler, ANY},
    {"CreateTopics", 19, 5, NONE, NULL, A},
    {"DeleteTopics", 20, 4, NONE, NULL, A},
    {"DeleteRecords", 21, 2, NONE, NULL, A},
    {"InitProducerId", 22, 2, NONE, NULL, P},
    {"OffsetForLeaderEpoch", 23, 4, NONE, NULL, C | R},
    {"AddPartitionsToTxn", 24, 3, NONE, NULL, P},
    {"AddOffsetsToTxn", 25, 3, NONE, NULL, P},
    {"EndTxn", 26, 3, NONE, NULL, P},
    {"WriteTxnMarkers", 27, 1, NONE, NULL, 0},
    {"TxnOffsetCommit", 28, 3, NONE, NULL, P},
    {"DescribeAcls", 29, 2, NONE, NULL, R | A},
    {"CreateAcls", 30, 2, NONE, NULL, A},
    {"DeleteAcls", 31, 2, NONE, NULL, A},
    {"DescribeConfigs", 32, 4, NONE, NULL, R | A},
    {"AlterConfigs", 33, 2, NONE, NULL, A},
    {"AlterReplicaLogDirs", 34, 2, NONE, NULL, A},
    {"DescribeLogDirs", 35, 2, NONE, NULL, R | A},
    {"SaslAuthenticate", 36, 2, NONE, NULL, ANY},
    {"CreatePartitions", 37, 2, NONE, NULL, A},
    {"CreateDelegationToken", 38, 2, NONE, NULL, A},
    {"RenewDelegationToken", 39, 2, NONE, NULL, A},
    {"ExpireDelegationToken", 40, 2, NONE, NULL, A},
    {"DescribeDelegationToken", 41, 2, NONE, NULL, A},
    {"DeleteGroups", 42, 2, NONE, NULL, A},
    {"ElectLeaders", 43, 2, NONE, NULL, A},
    {"IncrementalAlterConfigs", 44, 1, NONE, NULL, A},
    {"AlterPartitionReassignments", 45, 0, NONE, NULL, A},
    {"ListPartitionReassignments", 46, 0, NONE, NULL, R | A},
    {"OffsetDelete", 47, NONE, NONE, NULL, A},
    {"DescribeClientQuotas", 48, 1, NONE, NULL, R | A},
    {"AlterClientQuotas", 49, 1, NONE, NULL, A},
    {"DescribeUserScramCredentials", 50, 0, NONE, NULL, R | A},
    {"AlterUserScramCredentials", 51, 0, NONE, NULL, A},
    {"Vote", 52, 0, NONE, NULL, 0},
    {"BeginQuorumEpoch", 53, 1, NONE, NULL, 0},
    {"EndQuorumEpoch", 54, 1, NONE, NULL, 0},
    {"DescribeQuorum", 55, 0, NONE, NULL, R | A},
    {"AlterPartition", 56, 0, NONE, NULL, 0},
    {"UpdateFeatures", 57, 0, NONE, NULL, A},
    {"Envelope", 58, 0, NONE, NULL, 0},
    {"FetchSnapshot", 59, 0, NONE, NULL, 0},
    {"DescribeCluster", 60, 0, 2, &kafka_describe_cluster_handler, ANY},
    {"DescribeProducers", 61, 0, NONE, NULL, R | A},
    {"BrokerRegistration", 62, 0, NONE, NULL, 0},
    {"BrokerHeartbeat", 63, 0, NONE, NULL, 0},
    {"UnregisterBroker", 64, 0, NONE, NULL, A},
    {"DescribeTransactions", 65, 0, NONE, NULL, R | A},
    {"ListTransactions", 66, 0, NONE, NULL, R | A},
    {"AllocateProducerIds", 67, 0, NONE, NULL, 0},
    {"ConsumerGroupHeartbeat", 68, 0, NONE, NULL, C},
    {"ConsumerGroupDescribe", 69, 0, NONE, NULL, C | R | A},
    {"ControllerRegistration", 70, 0, NONE, NULL, 0},
    {"GetTelemetrySubscriptions", 71, 0, NONE, NULL, ANY},
    {"PushTelemetry", 72, 0, NONE, NULL, ANY},
    {"AssignReplicasToDirs", 73, 0, NONE, NULL, 0},
    {"ListConfigResources", 74, 0, NONE, NULL, R | A},
    {"DescribeTopicPartitions", 75, 0, NONE, NULL, ANY},
    {"ShareGroupHeartbeat", 76, 0, NONE, NULL, C},
    {"ShareGroupDescribe", 77, 0, NONE, NULL, C | R | A},
    {"ShareFetch", 78, 0, 2, &kafka_share_fetch_handler, C},
    {"ShareAcknowledge", 79, 0, 2, &kafka_share_acknowledge_handler, C},
    {"AddRaftVoter", 80, 0, NONE, NULL, A},
    {"RemoveRaftVoter", 81, 0, NONE, NULL, A},
    {"UpdateRaftVoter", 82, 0, NONE, NULL, 0},
    {"InitializeShareGroupState", 83, 0, NONE, NULL, 0},
    {"ReadShareGroupState", 84, 0, NONE, NULL, 0},
    {"WriteShareGroupState", 85, 0, NONE, NULL, 0},
    {"DeleteShareGroupState", 86, 0, NONE, NULL, 0},
    {"ReadShareGroupStateSummary", 87, 0, NONE, NULL, 0},
    {"StreamsGroupHeartbeat", 88, 0, NONE, NULL, C},
    {"StreamsGroupDescribe", 89, 0, NONE, NULL, C | R | A},
    {"DescribeShareGroupOffsets", 90, 0, NONE, NULL, C | R | A},
    {"AlterShareGroupOffsets", 91, 0, NONE, NULL, A},
    {"DeleteShareGroupOffsets", 92, 0, NONE, NULL, A},
    {"StreamsGroupTopologyDescriptionUpdate", 93, 0, NONE, NULL, C},
    {"UnregisterController", 94, 0, NONE, NULL, A},
};

const struct kafka_api *kafka_api_find(int16_t key)
{
    if (key < 0 || (size_t)key >= sizeof apis / sizeof apis[0])
        return NULL;
    return &apis[key];
}

const char *kafka_api_name(int16_t key)
{
    const struct kafka_api *api = kafka_api_find(key);
    return api ? api->name : "an API unknown to the tunnel";
}

bool kafka_api_flexible(const struct kafka_api *api, int16_t version)
{
    return api->first_flexible != KAFKA_API_NONE && version >= api->first_flexible;
}

size_t kafka_catalog_size(void)
{
    return sizeof apis / sizeof apis[0];
}

const char *kafka_catalog_name(size_t key)
{
    return apis[key].name;
}

unsigned kafka_catalog_uses(size_t key)
{
    return apis[key].uses;
}
