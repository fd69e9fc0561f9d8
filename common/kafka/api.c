#include "kafka/api.h"
#include "kafka/catalog.h"

#define NONE KAFKA_API_NONE

/* The index is the key. */
static const struct kafka_api apis[] = {
    {"Produce", 0, 9, 13, &kafka_produce_handler},
    {"Fetch", 1, 12, 18, &kafka_fetch_handler},
    {"ListOffsets", 2, 6, NONE, NULL},
    {"Metadata", 3, 9, 13, &kafka_metadata_handler},
    {"LeaderAndIsr", 4, 4, NONE, NULL},
    {"StopReplica", 5, 2, NONE, NULL},
    {"UpdateMetadata", 6, 6, NONE, NULL},
    {"ControlledShutdown", 7, 3, NONE, NULL},
    {"OffsetCommit", 8, 8, NONE, NULL},
    {"OffsetFetch", 9, 6, NONE, NULL},
    {"FindCoordinator", 10, 3, 6, &kafka_find_coordinator_handler},
    {"JoinGroup", 11, 6, NONE, NULL},
    {"Heartbeat", 12, 4, NONE, NULL},
    {"LeaveGroup", 13, 4, NONE, NULL},
    {"SyncGroup", 14, 4, NONE, NULL},
    {"DescribeGroups", 15, 5, NONE, NULL},
    {"ListGroups", 16, 3, NONE, NULL},
    {"SaslHandshake", 17, NONE, NONE, &kafka_sasl_handshake_handler},
    {"ApiVersions", 18, 3, NONE, &kafka_api_versions_handler},
    {"CreateTopics", 19, 5, NONE, NULL},
    {"DeleteTopics", 20, 4, NONE, NULL},
    {"DeleteRecords", 21, 2, NONE, NULL},
    {"InitProducerId", 22, 2, NONE, NULL},
    {"OffsetForLeaderEpoch", 23, 4, NONE, NULL},
    {"AddPartitionsToTxn", 24, 3, NONE, NULL},
    {"AddOffsetsToTxn", 25, 3, NONE, NULL},
    {"EndTxn", 26, 3, NONE, NULL},
    {"WriteTxnMarkers", 27, 1, NONE, NULL},
    {"TxnOffsetCommit", 28, 3, NONE, NULL},
    {"DescribeAcls", 29, 2, NONE, NULL},
    {"CreateAcls", 30, 2, NONE, NULL},
    {"DeleteAcls", 31, 2, NONE, NULL},
    {"DescribeConfigs", 32, 4, NONE, NULL},
    {"AlterConfigs", 33, 2, NONE, NULL},
    {"AlterReplicaLogDirs", 34, 2, NONE, NULL},
    {"DescribeLogDirs", 35, 2, NONE, NULL},
    {"SaslAuthenticate", 36, 2, NONE, NULL},
    {"CreatePartitions", 37, 2, NONE, NULL},
    {"CreateDelegationToken", 38, 2, NONE, NULL},
    {"RenewDelegationToken", 39, 2, NONE, NULL},
    {"ExpireDelegationToken", 40, 2, NONE, NULL},
    {"DescribeDelegationToken", 41, 2, NONE, NULL},
    {"DeleteGroups", 42, 2, NONE, NULL},
    {"ElectLeaders", 43, 2, NONE, NULL},
    {"IncrementalAlterConfigs", 44, 1, NONE, NULL},
    {"AlterPartitionReassignments", 45, 0, NONE, NULL},
    {"ListPartitionReassignments", 46, 0, NONE, NULL},
    {"OffsetDelete", 47, NONE, NONE, NULL},
    {"DescribeClientQuotas", 48, 1, NONE, NULL},
    {"AlterClientQuotas", 49, 1, NONE, NULL},
    {"DescribeUserScramCredentials", 50, 0, NONE, NULL},
    {"AlterUserScramCredentials", 51, 0, NONE, NULL},
    {"Vote", 52, 0, NONE, NULL},
    {"BeginQuorumEpoch", 53, 1, NONE, NULL},
    {"EndQuorumEpoch", 54, 1, NONE, NULL},
    {"DescribeQuorum", 55, 0, NONE, NULL},
    {"AlterPartition", 56, 0, NONE, NULL},
    {"UpdateFeatures", 57, 0, NONE, NULL},
    {"Envelope", 58, 0, NONE, NULL},
    {"FetchSnapshot", 59, 0, NONE, NULL},
    {"DescribeCluster", 60, 0, 2, &kafka_describe_cluster_handler},
    {"DescribeProducers", 61, 0, NONE, NULL},
    {"BrokerRegistration", 62, 0, NONE, NULL},
    {"BrokerHeartbeat", 63, 0, NONE, NULL},
    {"UnregisterBroker", 64, 0, NONE, NULL},
    {"DescribeTransactions", 65, 0, NONE, NULL},
    {"ListTransactions", 66, 0, NONE, NULL},
    {"AllocateProducerIds", 67, 0, NONE, NULL},
    {"ConsumerGroupHeartbeat", 68, 0, NONE, NULL},
    {"ConsumerGroupDescribe", 69, 0, NONE, NULL},
    {"ControllerRegistration", 70, 0, NONE, NULL},
    {"GetTelemetrySubscriptions", 71, 0, NONE, NULL},
    {"PushTelemetry", 72, 0, NONE, NULL},
    {"AssignReplicasToDirs", 73, 0, NONE, NULL},
    {"ListConfigResources", 74, 0, NONE, NULL},
    {"DescribeTopicPartitions", 75, 0, NONE, NULL},
    {"ShareGroupHeartbeat", 76, 0, NONE, NULL},
    {"ShareGroupDescribe", 77, 0, NONE, NULL},
    {"ShareFetch", 78, 0, 2, &kafka_share_fetch_handler},
    {"ShareAcknowledge", 79, 0, 2, &kafka_share_acknowledge_handler},
    {"AddRaftVoter", 80, 0, NONE, NULL},
    {"RemoveRaftVoter", 81, 0, NONE, NULL},
    {"UpdateRaftVoter", 82, 0, NONE, NULL},
    {"InitializeShareGroupState", 83, 0, NONE, NULL},
    {"ReadShareGroupState", 84, 0, NONE, NULL},
    {"WriteShareGroupState", 85, 0, NONE, NULL},
    {"DeleteShareGroupState", 86, 0, NONE, NULL},
    {"ReadShareGroupStateSummary", 87, 0, NONE, NULL},
    {"StreamsGroupHeartbeat", 88, 0, NONE, NULL},
    {"StreamsGroupDescribe", 89, 0, NONE, NULL},
    {"DescribeShareGroupOffsets", 90, 0, NONE, NULL},
    {"AlterShareGroupOffsets", 91, 0, NONE, NULL},
    {"DeleteShareGroupOffsets", 92, 0, NONE, NULL},
    {"StreamsGroupTopologyDescriptionUpdate", 93, 0, NONE, NULL},
    {"UnregisterController", 94, 0, NONE, NULL},
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
