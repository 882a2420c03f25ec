// A plugin's attributes: declared once, read from the node or the engine, written back on serialisation.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace refinemask {

// An attribute and the range of its values.
struct Attribute {
    char const* name;
    nvinfer1::PluginFieldType type;  // kINT32 or kFLOAT32
    double least;
    double most;
    bool optional = false;  // zero where there is none, as in files and engines from before there was this attribute
};

// The values of the declared attributes, in their order.
class Attributes {
public:
    // Throws std::invalid_argument that names the attribute, what was found and what was expected.
    Attributes(std::vector<Attribute> const& declared, nvinfer1::PluginFieldCollection const* fields)
        : declared_(declared) {
        for (Attribute const& attribute : declared_) {
            values_.push_back(read(attribute, fields));
        }
    }

    int32_t integer(size_t index) const { return static_cast<int32_t>(values_[index].as_integer); }
    float real(size_t index) const { return values_[index].as_real; }

    // The fields' data point into this object.
    std::vector<nvinfer1::PluginField> fields() const {
        std::vector<nvinfer1::PluginField> fields;
        for (size_t i = 0; i < declared_.size(); ++i) {
            fields.emplace_back(declared_[i].name, &values_[i], declared_[i].type, 1);
        }
        return fields;
    }

    // " output_size=7 sampling_ratio=0", every number in full.
    std::string text() const {
        std::ostringstream text;
        text.precision(std::numeric_limits<float>::max_digits10);
        for (size_t i = 0; i < declared_.size(); ++i) {
            text << ' ' << declared_[i].name << '=';
            if (declared_[i].type == nvinfer1::PluginFieldType::kINT32) {
                text << values_[i].as_integer;
            } else {
                text << values_[i].as_real;
            }
        }
        return text.str();
    }

private:
    union Value {
        int32_t as_integer;
        float as_real;
    };

    static Value read(Attribute const& attribute, nvinfer1::PluginFieldCollection const* fields) {
        for (int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
            nvinfer1::PluginField const& field = fields->fields[i];
            if (field.name != nullptr && std::strcmp(field.name, attribute.name) == 0) {
                return convert(attribute, field);
            }
        }
        if (attribute.optional) {
            return Value{};
        }
        throw std::invalid_argument("attribute '" + std::string(attribute.name) + "' is missing; expected " +
                                    expectation(attribute));
    }

    static Value convert(Attribute const& attribute, nvinfer1::PluginField const& field) {
        using Type = nvinfer1::PluginFieldType;
        if (field.type != attribute.type || field.length != 1 || field.data == nullptr) {
            throw std::invalid_argument("attribute '" + std::string(attribute.name) + "' has field type " +
                                        std::to_string(static_cast<int>(field.type)) + " and length " +
                                        std::to_string(field.length) + "; expected " + expectation(attribute));
        }
        Value value;
        std::memcpy(&value, field.data, sizeof(value));
        double const number = attribute.type == Type::kINT32 ? value.as_integer : static_cast<double>(value.as_real);
        if (!(number >= attribute.least && number <= attribute.most)) {
            std::ostringstream found;
            found << number;
            throw std::invalid_argument("attribute '" + std::string(attribute.name) + "' is " + found.str() +
                                        "; expected " + expectation(attribute));
        }
        return value;
    }

    static std::string expectation(Attribute const& attribute) {
        std::ostringstream text;
        bool const integer = attribute.type == nvinfer1::PluginFieldType::kINT32;
        text << (integer ? "an int32" : "a float32") << " from " << attribute.least << " to " << attribute.most;
        return text.str();
    }

    std::vector<Attribute> declared_;
    std::vector<Value> values_;
};

}  // namespace refinemask
