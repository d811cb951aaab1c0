//! The template keeps every rule, and every rule is broken by a template that does not.

use std::path::{Path, PathBuf};

use shared::telemetry::metric;
use tests::template_rules::violations;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn runbook() -> String {
    std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap()
}

/// The violations after a text of the template was replaced wherever it stands.
fn broken(from: &str, to: &str) -> Vec<String> {
    let ours = local::TEMPLATE;
    assert!(ours.contains(from), "the template has no {from:?}");
    violations(&ours.replace(from, to), &runbook())
}

fn assert_found(cases: &[(&str, &str, &str)]) {
    for (from, to, said) in cases {
        let found = broken(from, to);
        assert!(found.iter().any(|one| one.contains(said)), "{from:?} -> {to:?}: {found:#?}");
    }
}

#[test]
fn the_template_keeps_every_rule() {
    assert_eq!(violations(local::TEMPLATE, &runbook()), Vec::<String>::new());
}

#[test]
fn what_would_lose_repeat_or_give_up_messages_is_found() {
    assert_found(&[
        ("VisibilityTimeout: 361", "VisibilityTimeout: 360", "EventsQueue: VisibilityTimeout is 360, and Queue of"),
        ("VisibilityTimeout: 361", "VisibilityTimeout: 300", "QuarantineQueue: VisibilityTimeout is 300"),
        ("Timeout: 60\n", "Timeout: 61\n", "EventsQueue: VisibilityTimeout is 361"),
        ("[ReportBatchItemFailures]", "[]", "ConsumeFunction.Queue: without ReportBatchItemFailures"),
        ("[ReportBatchItemFailures]", "[]", "ConsumeFunction.Spill: without ReportBatchItemFailures"),
        ("BatchSize: 10\n            # Delays", "BatchSize: 30\n            # Delays", "outgrow an invocation"),
        ("    MinValue: 60\n    MaxValue: 1000", "    MinValue: 30\n    MaxValue: 1000", "30 receives outlast"),
        ("maxReceiveCount: !Ref ConsumeReceivesMax", "maxReceiveCount: 70", "is not the queue's maxReceiveCount"),
        ("MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 345600", "no longer than itself"),
        (
            "      MemorySize: 512\n",
            "      MemorySize: 512\n      ReservedConcurrentExecutions: 51\n",
            "reserved concurrency of 51",
        ),
    ]);
    let both = local::TEMPLATE
        .replace("BatchSize: 10\n            # Delays", "BatchSize: 11\n            # Delays")
        .replace("MaximumBatchingWindowInSeconds: 1\n", "MaximumBatchingWindowInSeconds: 0\n");
    let found = violations(&both, &runbook());
    assert!(found.iter().any(|one| one.contains("a batch of 11 needs a batching window")), "{found:#?}");
}

#[test]
fn what_the_functions_are_told_wrongly_is_found() {
    assert_found(&[
        (
            "          SPILL_TABLE_NAME: !Ref SpillTable\n          REQ",
            "          REQ",
            "SPILL_TABLE_NAME is read and not set",
        ),
        ("          RECEIVES_MAX:", "          RECEIVES_MOST:", "RECEIVES_MAX is read and not set"),
        ("          RECEIVES_MAX:", "          RECEIVES_MOST:", "RECEIVES_MOST is set and not read"),
        ("        STACK_NAME: !Ref AWS::StackName\n", "", "the metrics of several stacks mix"),
        ("MaxValue: 2621440", "MaxValue: 2621441", "RequestBytesMax: MaxValue is Some(2621441)"),
        ("MaxValue: 2621440", "MaxValue: 4194304", "outgrows an invocation"),
        ("MaxValue: 393216", "MaxValue: 409600", "outgrows an item"),
        ("    Default: never\n", "    Default: always\n", "PackedPeriod: Default is Some(\"always\")"),
        ("Default: 262144", "Default: 262143", "EventBytesMax: Default is Some(262143)"),
        (
            "      VisibilityTimeout: 361\n",
            "      VisibilityTimeout: 361\n      MaximumMessageSize: 262144\n",
            "MaximumMessageSize",
        ),
        ("ApplicationLogLevel: INFO", "ApplicationLogLevel: WARN", "at the log level WARN all metrics are lost"),
    ]);
}

#[test]
fn what_would_lose_or_show_what_is_stored_is_found() {
    assert_found(&[
        ("DeletionPolicy: Retain", "DeletionPolicy: Delete", "EventsTable: its DeletionPolicy is not Retain"),
        ("UpdateReplacePolicy: Retain", "UpdateReplacePolicy: Delete", "SpillTable: its UpdateReplacePolicy"),
        ("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false", "restored to a point in time"),
        ("SSEEnabled: true", "SSEEnabled: false", "not encrypted with a key of KMS"),
        (
            "DeletionProtectionEnabled: !If [IsProd, true, false]",
            "DeletionProtectionEnabled: false",
            "protected against",
        ),
        ("      OnDemandThroughput:\n        MaxWriteRequestUnits: !Ref TableWriteUnitsMax\n", "", "nothing bounds"),
        (
            "      # No time to live:",
            "      TimeToLiveSpecification: {AttributeName: ttl, Enabled: true}\n      #",
            "would expire",
        ),
        ("SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", "QuarantineQueue: it is not encrypted"),
        (
            "aws:SecureTransport: \"false\"",
            "aws:SecureTransport: \"true\"",
            "EventsQueue: it can be reached without TLS",
        ),
        ("      RetentionInDays: !Ref LogRetentionDays\n", "", "ApiLogGroup: its lines are kept for ever"),
    ]);
}

#[test]
fn what_may_do_more_or_less_than_it_calls_is_found() {
    assert_found(&[
        ("Role: !GetAtt IngestRole.Arn", "FunctionName: ingest", "IngestFunction: without a role"),
        (
            "                Resource: !GetAtt EventsQueue.Arn\n              - Sid: LookUp",
            "                Resource: \"*\"\n              - Sid: LookUp",
            "IngestRole: sqs:SendMessage is allowed on *",
        ),
        (
            "Action: [dynamodb:GetItem, dynamodb:BatchGetItem, dynamodb:Query]",
            "Action: [dynamodb:GetItem, dynamodb:BatchGetItem, dynamodb:Query, dynamodb:PutItem]",
            "ReceiptsRole: dynamodb:PutItem on EventsTable is never called",
        ),
        ("Action: [logs:CreateLogStream, logs:PutLogEvents]", "Action: logs:*", "IngestRole: logs:* allows more"),
        ("                  - dynamodb:Scan\n", "", "ConsumeRole: dynamodb:Scan on SpillTable is missing"),
        (
            "                Action: dynamodb:GetItem\n",
            "                Action: [dynamodb:GetItem, dynamodb:DeleteItem]\n",
            "dynamodb:DeleteItem on EventsTable is never called",
        ),
        (
            "      Policies:\n        - PolicyName: ingest",
            "      ManagedPolicyArns: [arn:aws:iam::aws:policy/X]\n      Policies:\n        - PolicyName: ingest",
            "a managed policy",
        ),
    ]);
}

#[test]
fn alarms_that_watch_nothing_tell_nobody_or_say_nothing_are_found() {
    assert_found(&[
        ("MetricName: EventsSpilled", "MetricName: EventsSpiled", "SpillingAlarm: nobody counts Holdfast EventsSpiled"),
        (
            "MetricName: MessagesSwept\n      Dimensions:\n        - Name: service\n          Value: consume",
            "MetricName: MessagesSwept\n      Dimensions:\n        - Name: service\n          Value: ingest",
            "nobody counts Holdfast MessagesSwept",
        ),
        ("MetricName: Throttles", "MetricName: Throttled", "nobody counts AWS/Lambda Throttled"),
        (
            "          MetricName: Crashes\n          MetricValue",
            "          MetricName: Crash\n          MetricValue",
            "CrashesAlarm: nobody counts",
        ),
        (
            "Value: crashed_consumer",
            "Value: crashed",
            "nobody counts Holdfast EventsDeadLettered by [reason, service, stack]",
        ),
        (
            "[\"Holdfast\", \"EventsStored\"",
            "[\"Holdfast\", \"EventsStorred\"",
            "Dashboard: nobody counts Holdfast EventsStorred",
        ),
        ("                \"${SweptAlarm.Arn}\",\n", "", "Dashboard: it does not show SweptAlarm"),
        ("          \"periodOverride\"", "          periodOverride", "Dashboard: its body is not JSON"),
        ("      AlarmActions: [!Ref AlarmTopic]\n", "      AlarmActions: []\n", "QueueAgeAlarm: it tells nobody"),
        ("      TreatMissingData: breaching\n", "", "SilenceAlarm: it does not say what missing data means"),
        ("${AWS::StackName}-queue-age", "${AWS::StackName}-queue-old", "the runbook's section queue-old has no"),
        ("${AWS::StackName}-queue-age", "${AWS::StackName}-queue-old", "the runbook: queue-age is no alarm"),
        ("section queue-age.", "section queues.", "its description does not name its section"),
        ("ALARM(\"${SweptAlarm}\")", "ALARM(\"${SpeltAlarm}\")", "LosingOrDelayingAlarm: there is no SpeltAlarm"),
        ("[!Ref IngestErrorsAlarm]", "[]", "IngestFunction: no alarm watches its deployments"),
        ("[!Ref ReceiptsErrorsAlarm]", "[]", "ReceiptsFunction: no alarm watches its deployments"),
    ]);
}

#[test]
fn what_cannot_be_read_is_one_violation() {
    for text in ["", "Resources: [", "Resources: {T: {Type: 1}}"] {
        assert_eq!(violations(text, "").len(), 1, "{text:?}");
    }
}

#[test]
fn every_metric_is_counted_somewhere_in_its_function() {
    for (function, names) in [
        ("ingest", metric::OF_INGEST.as_slice()),
        ("consume", metric::OF_CONSUME.as_slice()),
        ("receipts", metric::OF_RECEIPTS.as_slice()),
    ] {
        let folder = root().join("functions").join(function).join("src");
        let mut code = String::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
        for name in names {
            let constant: String = name.chars().fold(String::new(), |mut constant, letter| {
                if letter.is_uppercase() && !constant.is_empty() {
                    constant.push('_');
                }
                constant.push(letter.to_ascii_uppercase());
                constant
            });
            assert!(code.contains(&format!("metric::{constant}")), "{function} never counts {name}");
        }
    }
}
