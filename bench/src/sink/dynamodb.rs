//! DynamoDB's side of the sink: every write succeeds, and nothing is found but write keys, of which each is one, and the
//! notes of projects' latest deletions, of which all are long ago.

use consume::tombstone::LATEST_SORT;
use serde_json::{Map, Value, json};

use super::{Reply, Tally};

/// Answers a call.
pub(super) fn answer(action: &str, body: &[u8], tally: &mut Tally) -> Reply {
    let call: Value = match serde_json::from_slice(body) {
        Ok(call) => call,
        Err(error) => return Reply::refuse("SerializationException", &error.to_string()),
    };
    let reply = match action {
        "GetItem" => get(&call, tally),
        "BatchGetItem" => batch_get(&call, tally),
        "PutItem" => {
            tally.count_item(item_bytes(&call["Item"]));
            json!({})
        }
        // What is written is the whole item; of what was there before, nothing is known here.
        "UpdateItem" => {
            tally.count_item(item_bytes(&call["Key"]) + item_bytes(&call["ExpressionAttributeValues"]));
            json!({})
        }
        "DeleteItem" => {
            tally.count_item(item_bytes(&call["Key"]));
            json!({})
        }
        "BatchWriteItem" => {
            for request in elements(&call["RequestItems"]) {
                let key = &request["DeleteRequest"]["Key"];
                let item = &request["PutRequest"]["Item"];
                tally.count_item(item_bytes(if item.is_null() { key } else { item }));
            }
            json!({"UnprocessedItems": {}})
        }
        "BatchExecuteStatement" => {
            let statements = call["Statements"].as_array().map_or(&[][..], Vec::as_slice);
            statements.iter().for_each(|statement| tally.count_item(inserted_bytes(statement)));
            json!({"Responses": vec![json!({"TableName": "events"}); statements.len()]})
        }
        "Query" | "Scan" => {
            tally.read_units += 1.0;
            json!({"Items": [], "Count": 0, "ScannedCount": 0})
        }
        _ => return Reply::refuse("UnknownOperationException", "the sink does not know it"),
    };
    Reply::ok(reply.to_string())
}

fn get(call: &Value, tally: &mut Tally) -> Value {
    tally.read_units += read_units(&call["ConsistentRead"]);
    if call["Key"]["sk"]["S"] != "KEY" {
        return json!({});
    }
    json!({"Item": {"pk": call["Key"]["pk"], "sk": {"S": "KEY"}, "project": {"S": "dev"}, "source": {"S": "default"}}})
}

fn batch_get(call: &Value, tally: &mut Tally) -> Value {
    let mut responses = Map::new();
    for (table, wanted) in call["RequestItems"].as_object().into_iter().flatten() {
        let keys = wanted["Keys"].as_array().map_or(&[][..], Vec::as_slice);
        tally.read_units += keys.iter().map(|_| read_units(&wanted["ConsistentRead"])).sum::<f64>();
        let latest = keys.iter().filter(|key| key["sk"]["S"] == LATEST_SORT);
        let latest = latest.map(|key| json!({"pk": key["pk"], "sk": key["sk"], "until": {"N": "0"}}));
        // A link between a user and a device is written once, and is there.
        let is_link = |key: &&Value| key["sk"]["S"].as_str().is_some_and(|sk| sk.starts_with("DEVICE#"));
        let links = keys.iter().filter(is_link).cloned();
        responses.insert(table.clone(), latest.chain(links).collect());
    }
    json!({"Responses": responses, "UnprocessedKeys": {}})
}

/// What a read of one item costs, of which none here is larger than 4 KiB.
fn read_units(consistent: &Value) -> f64 {
    if consistent.as_bool() == Some(true) { 1.0 } else { 0.5 }
}

/// All elements of the arrays that an object has as values.
fn elements(object: &Value) -> impl Iterator<Item = &Value> {
    object.as_object().into_iter().flat_map(Map::values).filter_map(Value::as_array).flatten()
}

/// The bytes of an item: its names and values (DynamoDB developer guide, item sizes).
fn item_bytes(item: &Value) -> u64 {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() as u64 + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> u64 {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    let text = value.as_str().map_or(0, str::len) as u64;
    match kind.as_str() {
        "S" => text,
        // Two digits a byte, and one more.
        "N" => text.div_ceil(2) + 1,
        // As it travels it is base64.
        "B" => text * 3 / 4,
        "M" => 3 + item_bytes(value) + value.as_object().map_or(0, Map::len) as u64,
        "L" => 3 + value.as_array().into_iter().flatten().map(|element| value_bytes(element) + 1).sum::<u64>(),
        _ => 1,
    }
}

/// The bytes of the item that a statement inserts: the names are in its text (`'pk':?,'sk':?`), the values beside it.
fn inserted_bytes(statement: &Value) -> u64 {
    let text = statement["Statement"].as_str().unwrap_or_default();
    let names: usize = text.split('\'').skip(1).step_by(2).map(str::len).sum();
    let parameters = statement["Parameters"].as_array();
    names as u64 + parameters.into_iter().flatten().map(value_bytes).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(action: &str, call: &Value) -> (Value, Tally) {
        let mut tally = Tally::default();
        let reply = answer(action, call.to_string().as_bytes(), &mut tally);
        assert_eq!(reply.status, 200, "{}", reply.body);
        (serde_json::from_str(&reply.body).unwrap(), tally)
    }

    #[test]
    fn an_inserted_item_is_as_large_as_the_same_item_put() {
        let item = json!({"pk": {"S": "dev#ann"}, "sk": {"S": "E#1"}, "time": {"N": "1700000000123"}});
        let (_, put) = called("PutItem", &json!({"TableName": "events", "Item": item}));
        let statement = json!({"Statement": "INSERT INTO \"events\" VALUE {'pk':?,'sk':?,'time':?}",
            "Parameters": [item["pk"], item["sk"], item["time"]]});
        let (reply, inserted) = called("BatchExecuteStatement", &json!({"Statements": [statement, statement]}));
        assert_eq!(reply["Responses"].as_array().map(Vec::len), Some(2));
        assert_eq!((put.item_bytes, inserted.item_bytes), (26, 52));
        assert_eq!(inserted.write_units, 2);
    }

    #[test]
    fn reads_cost_by_their_consistency() {
        let keys = json!([{"pk": {"S": "a"}}, {"pk": {"S": "b"}}]);
        let call = |consistent: bool| json!({"RequestItems": {"events": {"Keys": keys, "ConsistentRead": consistent}}});
        assert!((called("BatchGetItem", &call(true)).1.read_units - 2.0).abs() < 1e-9);
        assert!((called("BatchGetItem", &call(false)).1.read_units - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_project_has_its_note() {
        let keys =
            json!([{"pk": {"S": "dev#DELETED"}, "sk": {"S": "LATEST"}}, {"pk": {"S": "dev#ann"}, "sk": {"S": "E#1"}}]);
        let (reply, _) = called("BatchGetItem", &json!({"RequestItems": {"events": {"Keys": keys}}}));
        assert_eq!(reply["Responses"]["events"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_link_is_there() {
        let keys = json!([{"pk": {"S": "dev#LINKS#a"}, "sk": {"S": "DEVICE#b"}}]);
        let (reply, _) = called("BatchGetItem", &json!({"RequestItems": {"events": {"Keys": keys}}}));
        assert_eq!(reply["Responses"]["events"], keys);
    }

    #[test]
    fn only_a_write_key_is_found() {
        let key = |sort: &str| json!({"TableName": "events", "Key": {"pk": {"S": "KEY#1"}, "sk": {"S": sort}}});
        assert_eq!(called("GetItem", &key("KEY")).0["Item"]["project"]["S"], "dev");
        assert_eq!(called("GetItem", &key("other")).0, json!({}));
    }
}
