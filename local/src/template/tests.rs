//! The project's own template as the local pipeline sees it, and what broken templates are told.

use super::*;

const OURS: &str = include_str!("../../../template.yaml");

const SPILL_STREAM: &str =
    "arn:aws:dynamodb:us-east-1:000000000000:table/holdfast-SpillTable/stream/2026-01-01T00:00:00.000";

fn ours() -> Template {
    Template::parse(OURS).unwrap()
}

/// A template with one broken resource, and the whole chain of its error.
fn error(text: &str) -> String {
    format!("{:#}", Template::parse(text).unwrap_err())
}

#[test]
fn the_tables_are_those_of_the_template() {
    let template = ours();
    let ids: Vec<&str> = template.tables.iter().map(|table| table.logical_id.as_str()).collect();
    assert_eq!(ids, ["EventsTable", "DeadLettersTable", "SpillTable"]);
    let key = |attribute: &str| Key { attribute: attribute.to_owned(), kind: "S".to_owned() };
    for table in &template.tables {
        assert_eq!(table.name, format!("holdfast-{}", table.logical_id));
        assert_eq!((&table.partition_key, table.sort_key.as_ref()), (&key("pk"), Some(&key("sk"))));
        let spills = table.logical_id == "SpillTable";
        assert_eq!(table.ttl_attribute.as_deref(), (!spills).then_some("ttl"));
        assert_eq!(table.stream_view_type.as_deref(), spills.then_some("KEYS_ONLY"));
        assert_eq!(table.stream_arn.as_deref(), spills.then_some(SPILL_STREAM));
    }
}

#[test]
fn the_queues_are_those_of_the_template() {
    let template = ours();
    let (events, quarantine) = (template.queue("EventsQueue").unwrap(), template.queue("QuarantineQueue").unwrap());
    assert_eq!(events.name, "holdfast-events");
    assert_eq!(events.url, "https://sqs.us-east-1.amazonaws.com/000000000000/holdfast-events");
    assert_eq!(events.arn, "arn:aws:sqs:us-east-1:000000000000:holdfast-events");
    assert_eq!(events.attributes["VisibilityTimeout"], "361");
    assert_eq!(events.attributes["MessageRetentionPeriod"], "345600");
    assert_eq!(events.attributes["SqsManagedSseEnabled"], "true");
    assert_eq!(events.redrive, Some(Redrive { dead_letter_arn: quarantine.arn.clone(), max_receive_count: 60 }));
    let policy: serde_json::Value = serde_json::from_str(&events.attributes["RedrivePolicy"]).unwrap();
    assert_eq!(policy, serde_json::json!({"deadLetterTargetArn": quarantine.arn, "maxReceiveCount": 60}));
    let allowed: serde_json::Value = serde_json::from_str(&quarantine.attributes["RedriveAllowPolicy"]).unwrap();
    assert_eq!(allowed["sourceQueueArns"], serde_json::json!([events.arn]));
    assert_eq!(quarantine.redrive, None);
}

#[test]
fn the_functions_are_those_of_the_template() {
    let template = ours();
    let (ingest, consume) =
        (template.function("IngestFunction").unwrap(), template.function("ConsumeFunction").unwrap());
    assert_eq!((ingest.binary.as_str(), ingest.memory_mb, ingest.timeout.as_secs()), ("ingest", 256, 10));
    assert_eq!((consume.binary.as_str(), consume.memory_mb, consume.timeout.as_secs()), ("consume", 512, 60));
    assert_eq!((ingest.http_routes.as_slice(), consume.http_routes.len()), (&["$default".to_owned()][..], 0));
    let receipts = template.function("ReceiptsFunction").unwrap();
    assert_eq!(
        (receipts.binary.as_str(), receipts.http_routes.as_slice()),
        ("receipts", &["ANY /v1/receipts/{path+}".to_owned()][..])
    );
    let pairs = |function: &Function| -> Vec<String> {
        function.environment.iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    assert_eq!(
        pairs(ingest),
        [
            "EVENTS_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/000000000000/holdfast-events",
            "EVENTS_TABLE_NAME=holdfast-EventsTable",
            "EVENT_BYTES_MAX=262144",
            "REQUEST_BYTES_MAX=1048576",
            "SPILL_TABLE_NAME=holdfast-SpillTable",
            "STACK_NAME=holdfast",
        ]
    );
    assert_eq!(
        pairs(consume),
        [
            "DEAD_LETTERS_RETENTION_DAYS=90",
            "DEAD_LETTERS_TABLE_NAME=holdfast-DeadLettersTable",
            "EVENTS_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/000000000000/holdfast-events",
            "EVENTS_TABLE_NAME=holdfast-EventsTable",
            "PACKED_PERIOD=never",
            "QUARANTINE_QUEUE_URL=https://sqs.us-east-1.amazonaws.com/000000000000/holdfast-quarantine",
            "RECEIVES_MAX=60",
            "SPILL_TABLE_NAME=holdfast-SpillTable",
            "STACK_NAME=holdfast",
        ]
    );
}

#[test]
fn what_invokes_consume_is_as_in_the_template() {
    let template = ours();
    let (ingest, consume) =
        (template.function("IngestFunction").unwrap(), template.function("ConsumeFunction").unwrap());
    assert!(ingest.queue_mappings.is_empty() && ingest.stream_mappings.is_empty() && ingest.schedules.is_empty());
    assert_eq!(
        consume.queue_mappings,
        [
            QueueMapping {
                name: "Queue".to_owned(),
                queue_arn: template.queue("EventsQueue").unwrap().arn.clone(),
                batch_size: 10,
                batching_window: Duration::from_secs(1),
                report_batch_item_failures: true,
                maximum_concurrency: Some(50),
            },
            QueueMapping {
                name: "Quarantine".to_owned(),
                queue_arn: template.queue("QuarantineQueue").unwrap().arn.clone(),
                batch_size: 1,
                batching_window: Duration::ZERO,
                report_batch_item_failures: true,
                maximum_concurrency: Some(2),
            },
        ]
    );
    assert_eq!(
        consume.stream_mappings,
        [StreamMapping {
            name: "Spill".to_owned(),
            stream_arn: SPILL_STREAM.to_owned(),
            batch_size: 10,
            parallelization_factor: 10,
            batching_window: Duration::ZERO,
            bisect_batch_on_function_error: true,
            maximum_retry_attempts: Some(10),
            maximum_record_age: None,
            report_batch_item_failures: true,
            filter: Filter::parse(&[r#"{"eventName":["INSERT"]}"#]).unwrap(),
        }]
    );
    assert_eq!(
        consume.schedules,
        [Schedule {
            name: "Sweep".to_owned(),
            rule_arn: "arn:aws:events:us-east-1:000000000000:rule/holdfast-ConsumeFunctionSweep".to_owned(),
            period: Duration::from_mins(5),
        }]
    );
}

#[test]
fn a_message_stays_invisible_for_six_time_outs_and_the_window() {
    let template = ours();
    for function in &template.functions {
        for mapping in &function.queue_mappings {
            let queue = template.queues.iter().find(|queue| queue.arn == mapping.queue_arn).unwrap();
            let visibility: u64 = queue.attributes["VisibilityTimeout"].parse().unwrap();
            assert!(visibility >= 6 * function.timeout.as_secs() + mapping.batching_window.as_secs());
            assert!(mapping.report_batch_item_failures);
            assert!(mapping.batch_size <= 10 || mapping.batching_window.as_secs() >= 1);
            // What leaves the quarantine is stored or dead-lettered; nothing is behind it.
            let receives = queue.redrive.as_ref().map(|redrive| redrive.max_receive_count);
            assert!(receives.is_none_or(|receives| receives >= 5));
            assert_eq!(receives.is_none(), queue.logical_id == "QuarantineQueue");
        }
    }
}

#[test]
fn settings_replace_defaults_and_switch_conditions() {
    let settings = |name: &str, value: &str| Settings {
        parameters: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        sqs_endpoint: "http://127.0.0.1:9324".to_owned(),
    };
    let template = Template::parse_with(OURS, &settings("AwsEndpointUrl", "http://127.0.0.1:1")).unwrap();
    let ingest = template.function("IngestFunction").unwrap();
    assert_eq!(ingest.environment["AWS_ENDPOINT_URL"], "http://127.0.0.1:1");
    assert_eq!(ingest.environment["EVENTS_QUEUE_URL"], "http://127.0.0.1:9324/000000000000/holdfast-events");
    for (name, value, said) in [
        ("Stage", "production", "the parameter Stage: \"production\" is not one of its values"),
        ("EventBytesMax", "9999999", "the parameter EventBytesMax: 9999999 is not a number from 1024 to 393216"),
        (
            "EventBytesMax",
            "many",
            "the parameter EventBytesMax: \"many\" is not a whole number: invalid digit found in string",
        ),
        ("Colour", "blue", "the template has no parameter Colour"),
    ] {
        let error = Template::parse_with(OURS, &settings(name, value)).unwrap_err();
        assert_eq!(format!("{error:#}"), said);
    }
}

#[test]
fn errors_name_resource_and_property() {
    let queue = |property: &str| format!("Resources: {{Q: {{Type: AWS::SQS::Queue, Properties: {{{property}}}}}}}");
    for (text, said) in [
        ("Resources: [", "the template is not YAML"),
        ("Outputs: {}", "the template has no Resources"),
        ("Resources: {Q: {}}", "Q.Type is missing"),
        (
            &queue("VisibilityTimeout: !Ref Nothing"),
            "Q: VisibilityTimeout: !Ref: there is no parameter or resource Nothing",
        ),
        (&queue("VisibilityTimeout: [1]"), "Q.VisibilityTimeout: it is not a text, a number or a boolean"),
        (&queue("FifoQueue: true"), "Q.FifoQueue is not known here"),
        (&queue("RedrivePolicy: {maxReceiveCount: 3}"), "Q.RedrivePolicy.deadLetterTargetArn is missing"),
        (&queue("QueueName: !Sub 'a-${Q'"), "Q: QueueName: !Sub: a ${ is not closed"),
        (&queue("DelaySeconds: !Transform x"), "Q: DelaySeconds: !Transform: this function is not known"),
        (&queue("DelaySeconds: !If [Never, 1, 2]"), "Q: DelaySeconds: !If: there is no condition Never"),
        ("Parameters: {P: {Type: String}}\nResources: {}", "the parameter P: it has no default and is not set"),
        (
            "Resources: {T: {Type: AWS::DynamoDB::Table, Properties: {AttributeDefinitions: [], KeySchema: [{AttributeName: pk, KeyType: HASH}]}}}",
            "T.AttributeDefinitions lacks pk, a key",
        ),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Timeout: soon}, Metadata: {BuildProperties: {Binary: f}}}}",
            "F.Timeout is \"soon\", not a whole number",
        ),
        ("Resources: {F: {Type: AWS::Serverless::Function}}", "F.Metadata.BuildProperties.Binary is missing"),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: Kinesis}}}, Metadata: {BuildProperties: {Binary: f}}}}",
            "F.Events.E.Type is Kinesis, which is not known here",
        ),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: SQS, Properties: {Queue: a, FilterCriteria: {}}}}}, Metadata: {BuildProperties: {Binary: f}}}}",
            "F.Events.E.FilterCriteria is not known here",
        ),
        (
            "Resources: {F: {Type: AWS::Serverless::Function, Properties: {Events: {E: {Type: SQS, Properties: {Queue: a}}}}, Metadata: {BuildProperties: {Binary: f}}}}",
            "the event E reads a, which is no queue of the template",
        ),
    ] {
        let error = error(text);
        assert!(error.starts_with(said), "{text}\n{error}");
    }
}

/// A function with one event on a table with a stream.
fn with_event(kind: &str, properties: &str) -> String {
    format!(
        "{{Resources: {{T: {{Type: AWS::DynamoDB::Table, Properties: {{AttributeDefinitions: [{{AttributeName: pk, \
         AttributeType: S}}], KeySchema: [{{AttributeName: pk, KeyType: HASH}}], StreamSpecification: {{StreamViewType: \
         KEYS_ONLY}}}}}}, N: {{Type: AWS::DynamoDB::Table, Properties: {{AttributeDefinitions: [{{AttributeName: pk, \
         AttributeType: S}}], KeySchema: [{{AttributeName: pk, KeyType: HASH}}]}}}}, F: {{Type: \
         AWS::Serverless::Function, Metadata: {{BuildProperties: {{Binary: f}}}}, Properties: {{Events: {{E: {{Type: \
         {kind}, Properties: {{{properties}}}}}}}}}}}}}}}"
    )
}

#[test]
fn errors_of_streams_and_schedules_name_event_and_property() {
    let stream = |more: &str| with_event("DynamoDB", &format!("Stream: arn, StartingPosition: TRIM_HORIZON, {more}"));
    for (text, said) in [
        (with_event("DynamoDB", "Stream: arn"), "F.Events.E.StartingPosition is missing"),
        (with_event("DynamoDB", "Stream: arn, StartingPosition: LATEST"), "F.Events.E.StartingPosition is LATEST, not"),
        (with_event("DynamoDB", "StartingPosition: TRIM_HORIZON"), "F.Events.E.Stream is missing"),
        (stream(""), "the event E reads arn, which is no stream of the template"),
        (
            with_event("DynamoDB", "Stream: !GetAtt N.StreamArn, StartingPosition: TRIM_HORIZON"),
            "F.Events.E: Stream: !GetAtt: N has no StreamSpecification, and so no stream",
        ),
        (stream("ParallelizationFactor: 11"), "F.Events.E.ParallelizationFactor is not a number from 1 to 10"),
        (stream("TumblingWindowInSeconds: 2"), "F.Events.E.TumblingWindowInSeconds is not known here"),
        (stream("DestinationConfig: {}"), "F.Events.E.DestinationConfig is not known here"),
        (stream("BatchSize: 0"), "F.Events.E.BatchSize is not a number from 1 to 10000"),
        (stream("BisectBatchOnFunctionError: maybe"), "F.Events.E.BisectBatchOnFunctionError is \"maybe\", not"),
        (stream("MaximumRetryAttempts: -2"), "F.Events.E.MaximumRetryAttempts is \"-2\", not a whole number"),
        (stream("MaximumRetryAttempts: 10001"), "F.Events.E.MaximumRetryAttempts is neither -1 nor a number from 0 to"),
        (stream("MaximumRecordAgeInSeconds: 59"), "F.Events.E.MaximumRecordAgeInSeconds is neither -1 nor a number"),
        (stream("FilterCriteria: {Filters: {}}"), "F.Events.E.FilterCriteria.Filters is not a list"),
        (
            stream("FilterCriteria: {Filters: [{Pattern: '{\"a\":[{\"suffix\":\"x\"}]}'}]}"),
            "F.Events.E.FilterCriteria.Filters: the pattern {\"a\":[{\"suffix\":\"x\"}]}: a: {\"suffix\":\"x\"} is not known",
        ),
        (with_event("Schedule", "Enabled: true"), "F.Events.E.Enabled is not known here"),
        (with_event("Schedule", ""), "F.Events.E.Schedule is missing"),
        (
            with_event("Schedule", "Schedule: cron(0 12 * * ? *)"),
            "F.Events.E.Schedule is \"cron(0 12 * * ? *)\": only rate(…) is known here",
        ),
    ] {
        let error = error(&text);
        assert!(error.starts_with(said), "{text}\n{error}");
    }
}

#[test]
fn what_a_stream_does_not_set_is_as_in_aws() {
    let read = |more: &str| {
        let properties = format!("Stream: !GetAtt T.StreamArn, StartingPosition: TRIM_HORIZON{more}");
        let template = Template::parse(&with_event("DynamoDB", &properties)).unwrap();
        template.function("F").unwrap().stream_mappings[0].clone()
    };
    for more in ["", ", MaximumRetryAttempts: -1, MaximumRecordAgeInSeconds: -1, FilterCriteria: {Filters: []}"] {
        let mapping = read(more);
        assert_eq!((mapping.batch_size, mapping.batching_window), (100, Duration::ZERO));
        assert_eq!((mapping.maximum_retry_attempts, mapping.maximum_record_age), (None, None));
        assert!(!mapping.bisect_batch_on_function_error && !mapping.report_batch_item_failures);
        assert_eq!(mapping.filter, Filter::default());
    }
    let mapping = read(", MaximumRetryAttempts: 0, MaximumRecordAgeInSeconds: 60, MaximumBatchingWindowInSeconds: 5");
    assert_eq!((mapping.maximum_retry_attempts, mapping.maximum_record_age), (Some(0), Some(Duration::from_mins(1))));
    assert_eq!(mapping.batching_window, Duration::from_secs(5));
}

#[test]
fn a_circle_of_references_ends_in_an_error() {
    let names = error("Resources: {Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Q}}}");
    assert!(names.ends_with("the values refer to one another in a circle or are nested too deep"), "{names}");
    let conditions = error("Conditions: {A: !Not [!Condition A]}\nResources: {Q: {Type: T, Condition: A}}");
    assert!(conditions.ends_with("in a circle or are nested too deep"), "{conditions}");
}

#[test]
fn what_the_template_does_not_set_is_as_in_aws() {
    let template = Template::parse(
        "Globals: {Function: {Environment: {Variables: {A: 1, B: x}}}}\n\
         Resources: {Q: {Type: AWS::SQS::Queue}, F: {Type: AWS::Serverless::Function, Metadata: {BuildProperties: \
         {Binary: f}}, Properties: {Environment: {Variables: {B: y}}, Events: {E: {Type: SQS, Properties: {Queue: \
         !GetAtt Q.Arn}}}}}, Absent: {Type: AWS::SQS::Queue, Condition: No}}\nConditions: {No: !Equals [a, b]}",
    )
    .unwrap();
    let function = template.function("F").unwrap();
    assert_eq!((function.memory_mb, function.timeout.as_secs()), (128, 3));
    let variables = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "y".to_owned())];
    assert_eq!(function.environment, BTreeMap::from(variables));
    let mapping = &function.queue_mappings[0];
    assert_eq!((mapping.batch_size, mapping.batching_window.as_secs(), mapping.maximum_concurrency), (10, 0, None));
    assert!(!mapping.report_batch_item_failures);
    assert!(template.queue("Absent").is_none());
}
