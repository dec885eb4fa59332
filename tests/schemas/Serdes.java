import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import io.apicurio.registry.serde.avro.AvroKafkaSerializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaDeserializer;
import io.apicurio.registry.serde.jsonschema.JsonSchemaKafkaSerializer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serializer;

/** Arguments: avro or json; the registry; a topic; a file with the schema, or the subject that has it; a record as JSON; a
    value in hexadecimal digits. Prints the record as a value, and the value as a record. */
public class Serdes {
    public static void main(String[] given) throws Exception {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "apicurio.registry.url", given[1],
            "apicurio.registry.as-confluent", true,
            "apicurio.registry.use-id", "contentId",
            "apicurio.registry.headers.enabled", false));
        if (given[0].equals("avro")) {
            settings.put("apicurio.registry.auto-register", true);
            Schema schema = new Schema.Parser().parse(Files.readString(Path.of(given[3])));
            GenericRecord written = new GenericDatumReader<GenericRecord>(schema)
                .read(null, DecoderFactory.get().jsonDecoder(schema, given[4]));
            run(new AvroKafkaSerializer<>(), new AvroKafkaDeserializer<>(), settings, given, written);
        } else {
            settings.put("apicurio.registry.artifact.artifact-id", given[3]);
            settings.put("apicurio.registry.find-latest", true);
            settings.put("apicurio.registry.deserializer.value.return-class", JsonNode.class.getName());
            JsonNode written = new ObjectMapper().readTree(given[4]);
            run(new JsonSchemaKafkaSerializer<>(), new JsonSchemaKafkaDeserializer<>(), settings, given, written);
        }
    }

    static <T> void run(
            Serializer<T> serializer, Deserializer<T> deserializer, Map<String, Object> settings, String[] given, T written) {
        try (serializer; deserializer) {
            serializer.configure(settings, false);
            System.out.println(HexFormat.of().formatHex(serializer.serialize(given[2], written)));
            deserializer.configure(settings, false);
            System.out.println(deserializer.deserialize(given[2], HexFormat.of().parseHex(given[5])));
        }
    }
}
