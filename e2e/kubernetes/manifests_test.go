package kubernetes

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	secretsv1beta1 "github.com/hashicorp/vault-secrets-operator/api/v1beta1"
	"github.com/stretchr/testify/require"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// The operators' modules whose schemas and code these tests use.
const (
	secretsOperator = "github.com/hashicorp/vault-secrets-operator@v0.10.0"
	externalSecrets = "github.com/external-secrets/external-secrets@v1.3.2"
)

// crdFolders says where each module keeps its resource definitions.
var crdFolders = map[string]string{
	secretsOperator: "config/crd/bases",
	externalSecrets: "config/crds/bases",
}

// Every document of every example is what the API server of a cluster with both
// operators would take, without a field that it does not know.
func TestExamplesFitTheSchemas(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "examples", "kubernetes", "*.yaml"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	schemas := readSchemas(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for _, document := range documents(t, filepath.Base(file)) {
				require.NoError(t, schemas.check(document))
			}
		})
	}
}

// The checks refuse what they should, so that the test above can fail.
func TestSchemasRefuseWhatIsWrong(t *testing.T) {
	schemas := readSchemas(t)
	for want, document := range map[string]string{
		"unknown fields: spec.allowStaticCredentials": `{apiVersion: secrets.hashicorp.com/v1beta1, kind: VaultDynamicSecret, metadata: {name: x},
			spec: {mount: gbg, path: creds, allowStaticCredentials: true, destination: {name: x}}}`,
		"spec.refreshInterval: Invalid value":   `{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: x}, spec: {refreshInterval: 60}}`,
		"spec.path: Required value":             `{apiVersion: secrets.hashicorp.com/v1beta1, kind: VaultDynamicSecret, metadata: {name: x}, spec: {mount: gbg}}`,
		"no kind \"VaultDynamicSecrets\"":       `{apiVersion: secrets.hashicorp.com/v1beta1, kind: VaultDynamicSecrets, metadata: {name: x}}`,
		"unknown field \"metadata.namespaces\"": `{apiVersion: v1, kind: ServiceAccount, metadata: {name: x, namespaces: y}}`,
	} {
		plain, err := yaml.YAMLToJSON([]byte(strings.ReplaceAll(document, "\t", " ")))
		require.NoError(t, err)
		require.ErrorContains(t, schemas.check(plain), want)
	}
}

// documents gives an example's documents as JSON.
func documents(t *testing.T, file string) [][]byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, "examples", "kubernetes", file))
	require.NoError(t, err)
	var all [][]byte
	for reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content))); ; {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			require.NotEmpty(t, all)
			return all
		}
		require.NoError(t, err)
		plain, err := yaml.YAMLToJSONStrict(document)
		require.NoError(t, err)
		all = append(all, plain)
	}
}

// objects gives an example's documents as the types of a scheme; what the scheme
// does not know is left out.
func objects(t *testing.T, scheme *runtime.Scheme, file string) []client.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme).UniversalDeserializer()
	var all []client.Object
	for _, document := range documents(t, file) {
		object, _, err := decoder.Decode(document, nil, nil)
		if runtime.IsNotRegisteredError(err) {
			continue
		}
		require.NoError(t, err)
		all = append(all, object.(client.Object))
	}
	return all
}

// object finds the one object of a type.
func object[T client.Object](t *testing.T, all []client.Object) T {
	t.Helper()
	for _, o := range all {
		if found, ok := o.(T); ok {
			return found
		}
	}
	t.Fatalf("no %T in the example", *new(T))
	panic("unreachable")
}

// newScheme knows Kubernetes' own types and Vault Secrets Operator's.
func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, clientgoscheme.AddToScheme(scheme))
	require.NoError(t, secretsv1beta1.AddToScheme(scheme))
	return scheme
}

// crdSchema is the schema of one version of a custom resource.
type crdSchema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
}

// schemas are those of all custom resources, and Kubernetes' own.
type schemas struct {
	custom map[schema.GroupVersionKind]crdSchema
	strict runtime.Decoder
}

func readSchemas(t *testing.T) *schemas {
	t.Helper()
	s := &schemas{
		custom: map[schema.GroupVersionKind]crdSchema{},
		strict: serializer.NewCodecFactory(clientgoscheme.Scheme, serializer.EnableStrict).UniversalDeserializer(),
	}
	for module, folder := range crdFolders {
		files, err := filepath.Glob(filepath.Join(moduleFolder(t, module), folder, "*_*.yaml"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			var crd apiextensionsv1.CustomResourceDefinition
			require.NoError(t, yaml.Unmarshal(content, &crd))
			s.add(t, &crd)
		}
	}
	return s
}

func (s *schemas) add(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition) {
	t.Helper()
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		var internal apiextensions.JSONSchemaProps
		require.NoError(t, apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &internal, nil))
		structural, err := structuralschema.NewStructural(&internal)
		require.NoError(t, err)
		validator, _, err := validation.NewSchemaValidator(&internal)
		require.NoError(t, err)
		s.custom[schema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}] = crdSchema{structural, validator}
	}
}

// check says what is wrong with a document, unknown fields included.
func (s *schemas) check(document []byte) error {
	var o unstructured.Unstructured
	if err := json.Unmarshal(document, &o); err != nil {
		return err
	}
	crd, ok := s.custom[o.GroupVersionKind()]
	if !ok {
		_, _, err := s.strict.Decode(document, nil, nil)
		return err
	}
	defaulting.Default(o.Object, crd.structural)
	if all := validation.ValidateCustomResource(nil, o.Object, crd.validator); len(all) > 0 {
		return all.ToAggregate()
	}
	unknown := pruning.PruneWithOptions(o.Object, crd.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		return errors.New("unknown fields: " + strings.Join(unknown, ", "))
	}
	return nil
}

// moduleFolder is where Go keeps a module's files.
func moduleFolder(t *testing.T, module string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module)
	out, err := cmd.Output()
	require.NoError(t, err)
	var answer struct{ Dir string }
	require.NoError(t, json.Unmarshal(out, &answer))
	return answer.Dir
}
