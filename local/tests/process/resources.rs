//! Queues and tables, as the AWS SDK describes them, against the text of the template.

use serde_yaml_ng::Value;

use crate::process::Process;

/// The properties of every resource of a type, with their logical ids, in the template's order.
fn resources(kind: &str) -> Vec<(String, Value)> {
    let template: Value = serde_yaml_ng::from_str(local::TEMPLATE).expect("the template is YAML");
    let resources = template["Resources"].as_mapping().expect("the template has resources");
    let wanted = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
    wanted.map(|(id, resource)| (id.as_str().unwrap_or_default().to_owned(), resource["Properties"].clone())).collect()
}

/// A number of the template, or the default of the parameter that it refers to.
fn whole_number(value: &Value) -> u64 {
    let Value::Tagged(reference) = value else { return value.as_u64().expect("a number") };
    let template: Value = serde_yaml_ng::from_str(local::TEMPLATE).expect("the template is YAML");
    let parameter = reference.value.as_str().expect("a reference names a parameter");
    template["Parameters"][parameter]["Default"].as_u64().expect("the parameter is a number")
}

/// A number of the template as AWS writes it.
fn number(value: &Value) -> String {
    whole_number(value).to_string()
}

#[tokio::test]
async fn the_queues_are_those_of_the_template() {
    let process = Process::ephemeral();
    let client = local::clients::sqs(&process.sqs());
    let arn = |name: &str| format!("arn:aws:sqs:us-east-1:000000000000:{name}");
    let wanted = resources("AWS::SQS::Queue");
    let listed = client.list_queues().send().await.expect("SQS answers").queue_urls.unwrap_or_default();
    assert_eq!(listed.len(), wanted.len(), "{listed:?}");
    for (id, properties) in wanted {
        let name = if id == "EventsQueue" { "holdfast-events" } else { "holdfast-quarantine" };
        let url = client.get_queue_url().queue_name(name).send().await.expect("the queue exists");
        let request = client.get_queue_attributes().queue_url(url.queue_url().expect("a URL"));
        let reply = request.attribute_names("All".into()).send().await.expect("the queue answers");
        let attribute = |name: &str| reply.attributes()?.get(&name.into()).cloned();
        assert_eq!(attribute("QueueArn"), Some(arn(name)));
        assert_eq!(attribute("MessageRetentionPeriod"), Some(number(&properties["MessageRetentionPeriod"])), "{id}");
        // Where the template says nothing, SQS's default is 30 s.
        let visibility = properties.get("VisibilityTimeout").map_or("30".to_owned(), number);
        assert_eq!(attribute("VisibilityTimeout"), Some(visibility), "{id}");
        let policy = attribute("RedrivePolicy").map(|text| serde_json::from_str(&text).expect("a policy is JSON"));
        let redrive = properties.get("RedrivePolicy").map(|redrive| {
            let most = whole_number(&redrive["maxReceiveCount"]);
            serde_json::json!({"deadLetterTargetArn": arn("holdfast-quarantine"), "maxReceiveCount": most})
        });
        assert_eq!(policy, redrive, "{id}");
        assert_eq!(attribute("RedriveAllowPolicy").is_some(), properties.get("RedriveAllowPolicy").is_some(), "{id}");
    }
}

#[tokio::test]
async fn the_tables_are_those_of_the_template() {
    let process = Process::ephemeral();
    let client = local::clients::dynamodb(&process.dynamodb());
    let wanted = resources("AWS::DynamoDB::Table");
    let names = client.list_tables().send().await.expect("DynamoDB answers").table_names.unwrap_or_default();
    assert_eq!(names.len(), wanted.len(), "{names:?}");
    for (id, properties) in wanted {
        let name = names.iter().find(|name| name.contains(&id)).unwrap_or_else(|| panic!("no {id} in {names:?}"));
        let described = client.describe_table().table_name(name).send().await.expect("the table exists");
        let table = described.table.expect("a description");
        let keys = table.key_schema().iter().map(|key| (key.attribute_name(), key.key_type().as_str()));
        let schema = properties["KeySchema"].as_sequence().expect("a table has keys").iter();
        let schema = schema.filter_map(|key| Some((key["AttributeName"].as_str()?, key["KeyType"].as_str()?)));
        assert_eq!(keys.collect::<Vec<_>>(), schema.collect::<Vec<_>>(), "{id}");
        let stream =
            table.stream_specification().and_then(|stream| stream.stream_view_type()).map(|view| view.as_str());
        let view = properties.get("StreamSpecification").and_then(|stream| stream["StreamViewType"].as_str());
        assert_eq!(stream, view, "{id}");
        let ttl = client.describe_time_to_live().table_name(name).send().await.expect("the table exists");
        let ttl = ttl.time_to_live_description.expect("a description");
        let wanted = properties.get("TimeToLiveSpecification").and_then(|ttl| ttl["AttributeName"].as_str());
        assert_eq!(ttl.attribute_name(), wanted, "{id}");
        let status = if wanted.is_some() { "ENABLED" } else { "DISABLED" };
        assert_eq!(ttl.time_to_live_status().map(|status| status.as_str()), Some(status), "{id}");
    }
}
